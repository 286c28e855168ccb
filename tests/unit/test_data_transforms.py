"""Scaling is fitted on training events and applied per feature."""

from __future__ import annotations

import json

import numpy as np
import pytest

from raresearch.data.transforms import Scaler
from raresearch.errors import DataError, UserError


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal([5.0, -3.0, 1e6], [2.0, 0.1, 1e3], size=(400, 3)).astype(np.float32)


def test_minmax_maps_training_events_to_the_unit_interval(x):
    y = Scaler.fit("minmax", x).apply(x)
    np.testing.assert_array_equal(y.min(axis=0), 0)
    np.testing.assert_array_equal(y.max(axis=0), 1)


def test_standard_gives_mean_zero_and_variance_one(x):
    y = Scaler.fit("standard", x).apply(x).astype(float)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-6)


def test_none_changes_nothing_but_the_dtype(x):
    y = Scaler.fit("none", x.astype(float)).apply(x.astype(float))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x)


def test_other_events_are_scaled_by_what_was_fitted_and_may_leave_the_interval():
    scaler = Scaler.fit("minmax", np.array([[0.0], [10.0]]))
    np.testing.assert_allclose(scaler.apply(np.array([[20.0], [-5.0]])), [[2.0], [-0.5]])


@pytest.mark.parametrize("kind", ["minmax", "standard"])
@pytest.mark.parametrize("value", [0.1, 0.0, -7.3e8])
def test_a_constant_feature_becomes_zero_and_stays_finite(kind, value):
    train = np.c_[np.full(1001, value, np.float32), np.arange(1001)]
    scaler = Scaler.fit(kind, train)
    assert np.all(scaler.apply(train)[:, 0] == 0)
    assert scaler.apply(np.array([[value + 1, 0.0]]))[0, 0] == pytest.approx(1, rel=1e-3)


def test_an_image_is_scaled_per_channel():
    images = np.random.default_rng(1).normal(size=(50, 2, 8, 8)) * np.array([1.0, 100.0])[None, :, None, None]
    scaler = Scaler.fit("standard", images)
    assert scaler.shift.shape == (2,)
    np.testing.assert_allclose(scaler.apply(images).std(axis=(0, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "minmax", "standard"])
def test_a_scaler_survives_json_to_the_last_bit(kind, x):
    scaler = Scaler.fit(kind, x)
    again = Scaler.from_json(json.loads(json.dumps(scaler.to_json())))
    np.testing.assert_array_equal(again.apply(x), scaler.apply(x))
    assert again.kind == kind


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'minmax'"):
        Scaler.fit("min-max", np.zeros((3, 1)))


def test_no_events_and_a_wrong_number_of_features_are_refused():
    with pytest.raises(DataError, match="training events"):
        Scaler.fit("standard", np.zeros((0, 3)))
    with pytest.raises(DataError, match="2 features"):
        Scaler.fit("standard", np.arange(6.0).reshape(3, 2)).apply(np.zeros((3, 5)))
