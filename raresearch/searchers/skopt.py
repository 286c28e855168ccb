"""Bayesian optimisation: a Gaussian process fitted to all that is known, asked where improvement is to be expected."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from raresearch.errors import SpecError, nearest
from raresearch.searchers.encoding import Encoding
from raresearch.searchers.history import History, Observation
from raresearch.searchers.maximise import Acquire, best_free, maximise
from raresearch.searchers.random import distinct, positive, unseen
from raresearch.searchers.threads import one_thread
from raresearch.searchers.warm_start import Past, read_past
from raresearch.space import Space
from raresearch.types import Array, Config, named_stream

_CENTRES = 5  # best observations to look around
_LISTED = 2000  # a space with at most so many points is listed, and the best free point is found exactly
_XI = 0.01  # improvement asked for by EI and PI, in standard deviations of the scores
_KAPPA = 1.96  # standard deviations in LCB


class SkoptSearcher:
    """At most ``configs`` configs: the first ``initial`` at random (fewer after a warm start), then one Gaussian process of
    scikit-optimize a proposal: Matérn 5/2 with a length scale for each feature and Gaussian noise, fitted by maximum
    marginal likelihood to standardised scores (Snoek, Larochelle & Adams, arXiv:1206.2944; features: see `Encoding`).

    ``acquisition``: EI (expected improvement), PI (probability of improvement), LCB (confidence bound), or gp_hedge, which
    takes the favourite of one of the three at random. (scikit-optimize's gp_hedge learns which of the three to prefer from
    the order of the search; it starts even, and a searcher that is rebuilt from the store has to stay there.)

    A pending config counts as told, with the mean score (constant liar; Ginsbourger, Le Riche & Carraro 2010): so several
    proposals can be under way at once. A failed config counts as bad as the worst success.

    ``warm_start``: a CSV (columns: axes and ``score_column``), or (config, score) pairs; see `read_past`. Higher is better.

    A proposal is a function of (seed, what is told, what is pending), in whatever order it was told: nothing is pickled,
    and a resumed search goes on as if never interrupted. Raises `SpecError` for options that are out of range.
    """

    def __init__(
        self,
        space: Space,
        configs: int,
        seed: int,
        acquisition: str = "EI",
        initial: int = 10,
        warm_start: str | Path | Sequence[Observation] | None = None,
        score_column: str = "score",
    ) -> None:
        positive("skopt.configs", configs, "configs: 150")
        positive("skopt.initial", initial, "initial: 10")
        if acquisition not in ACQUISITIONS:
            raise SpecError("skopt.acquisition", f"there is no {acquisition!r}", nearest(acquisition, ACQUISITIONS))
        self.past: Past = read_past("skopt.warm_start", warm_start, space, score_column)
        self._space, self._configs, self._seed, self._acquisition = space, configs, seed, acquisition
        self._history = History.warmed(self.past.observations)
        self._encoding = Encoding(space)
        draws = distinct(space, np.random.default_rng(named_stream(seed, "searcher", "skopt", "initial")))
        self._initial = list(islice(draws, initial))

    def ask(self) -> Config | None:
        known = len(self._history.known)
        if known >= self._configs:
            return None
        initial = self._initial if known + len(self._history.warm) < len(self._initial) else []
        config = next((c for c in initial if not self._history.knows(c)), None) or self._propose()
        return None if config is None else self._history.propose(config)

    def tell(self, config: Config, score: float) -> None:
        self._history.tell(config, score)

    def expect(self, config: Config) -> None:
        """``config`` is pending since an earlier run (see `Expecting`)."""
        self._history.propose(config)

    def _propose(self) -> Config | None:
        words = (str(len(self._history.told)), str(len(self._history.pending)))
        rng = np.random.default_rng(named_stream(self._seed, "searcher", "skopt", *words))
        size = self._space.size()
        if size is not None and len(self._history.known) >= size:
            return None
        observations = self._history.observations()
        if len(observations) > 1:
            with one_thread():
                code = self._best(observations, rng)
            if code is not None and not self._history.knows(config := self._encoding.config(code)):
                return config
        # Nothing to learn from yet, or every draw is taken: any other config.
        return unseen(self._space, rng, self._history.known)

    def _best(self, observations: Sequence[Observation], rng: np.random.Generator) -> Array | None:
        codes = self._encoding.codes(config for config, _ in observations)
        scores = np.array([score for _, score in observations])
        pending = self._encoding.codes(config for _, config in sorted(self._history.pending.items()))
        everything = np.vstack([codes, pending])
        lies = np.append(scores, np.full(len(pending), scores.mean()))
        acquire = self._fitted(self._encoding.features(everything), lies, rng)
        # A warm-started config is not taken: the best of another study may be proposed in this one.
        taken = np.vstack([self._encoding.codes(config for config, _ in self._history.told.values()), pending])
        if self._listed is not None:
            return best_free(self._listed, acquire(self._encoding.features(self._listed)), taken)
        best = codes[np.argsort(-scores, kind="stable")[:_CENTRES]]
        return maximise(acquire, self._encoding, best, taken, rng)

    @cached_property
    def _listed(self) -> Array | None:
        size = self._space.size()
        return self._encoding.codes(self._space.grid()) if size is not None and size <= _LISTED else None

    def _fitted(self, features: Array, scores: Array, rng: np.random.Generator) -> Acquire:
        """The acquisition function after a fit to ``scores`` (N,) at ``features`` (N, D)."""
        # scikit-optimize minimises. Standardised, so that ξ means the same for an AUC as for a significance.
        spread = scores.std()
        loss = (scores.mean() - scores) / (spread if spread > 0 else 1.0)
        model = fit(features, loss)
        name = self._acquisition
        if name == "gp_hedge":
            name = ("EI", "LCB", "PI")[rng.integers(3)]
        return lambda points: ACQUISITIONS[name](points, model, float(loss.min()))


def fit(features: Array, loss: Array) -> Any:
    """A `skopt.learning.GaussianProcessRegressor` fitted to ``loss`` (N,), of unit variance, at ``features`` (N, D)."""
    from skopt.learning import GaussianProcessRegressor
    from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern

    scales = np.ones(features.shape[1])
    # The kernel and its bounds are scikit-optimize's own default; the amplitude cannot leave the scores' unit variance far.
    kernel = ConstantKernel(1.0, (0.01, 1000.0)) * Matern(scales, [(0.01, 100.0)] * len(scales), nu=2.5)
    # No random restarts of the fit: they take three times as long and gained nothing (README.md).
    model = GaussianProcessRegressor(kernel, noise="gaussian", n_restarts_optimizer=0, random_state=0)
    with _quiet():
        return model.fit(features, loss)


def _expected_improvement(points: Array, model: Any, best: float) -> Array:
    from skopt.acquisition import gaussian_ei

    value: Array = gaussian_ei(points, model, best, _XI)
    return value


def _improvement_probability(points: Array, model: Any, best: float) -> Array:
    from skopt.acquisition import gaussian_pi

    value: Array = gaussian_pi(points, model, best, _XI)
    return value


def _confidence_bound(points: Array, model: Any, best: float) -> Array:
    from skopt.acquisition import gaussian_lcb

    value: Array = -gaussian_lcb(points, model, _KAPPA)
    return value


ACQUISITIONS: Mapping[str, Callable[[Array, Any, float], Array]] = {
    "EI": _expected_improvement,
    "LCB": _confidence_bound,
    "PI": _improvement_probability,
    "gp_hedge": _expected_improvement,
}


@contextmanager
def _quiet() -> Iterator[None]:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # A length scale at its bound means that the axis does not matter, which is for the search to find out.
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
