"""Boosted trees on numbers read off the frames: what the pictures say without a network. Loads scikit-learn when called."""

from __future__ import annotations

from typing import Any

import numpy as np

from raresearch.experiments.newsdm.features import features
from raresearch.experiments.newsdm.simulator import FOG
from raresearch.types import Array

TREES = 300


def fit(frames: Array, class_number: Array, seed: int = 0) -> Any:
    """scikit-learn's histogram gradient boosting, carbon against fog, at its default settings but for the number of trees.

    Nothing is searched: it is a yardstick. ``seed`` is that of its own held-out tenth, by which it stops early.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=TREES, early_stopping=True, random_state=seed)
    return model.fit(features(frames), class_number != FOG)


def scores(model: Any, frames: Array) -> Array:
    """(N,) probability of carbon."""
    return np.asarray(model.predict_proba(features(frames))[:, 1])
