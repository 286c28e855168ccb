"""Maximum likelihood for many models at once: damped Newton steps in (μ, α), with γ solved in closed form.

With both constraints Gaussian or Poisson the likelihood has no other parameters, a handful for each model; NumPy then fits
thousands of small models in the time a general minimiser needs for one. Legend as in `model`; Q = 1 + P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.metrics.limits.model import Models, Observations, expectation
from raresearch.types import Array

_STEPS = 60
_PRECISION = 1e-12  # of the decrease that a step still promises


@dataclass(frozen=True)
class Fit:
    """Where the likelihood is largest: ``mu`` (B,), ``alpha`` (B, P), ``gamma`` (B, K); ``nll`` (B,) is -ln L there, less its
    value for expectations that equal the counts, ``slope`` (B,) its derivative in μ."""

    mu: Array
    alpha: Array
    gamma: Array
    nll: Array
    slope: Array


def fit(models: Models, observed: Observations, mu: Array | None = None, start: Fit | None = None) -> Fit:
    """The fit of each model, with ``mu`` (B,) held, or free but never negative where None; ``start`` is a fit to begin at."""
    held = mu is not None
    theta = np.zeros((models.size, 1 + len(models.relative)))
    if start is not None:
        theta = np.concatenate([start.mu[:, None], start.alpha], axis=1)
    if mu is not None:
        theta[:, 0] = mu
    active = np.arange(models.size)
    found = _evaluate(models, observed, theta)
    for _ in range(_STEPS):
        part, data = models.where(active), _rows(observed, active)
        step, promise = _step(part, data, theta[active], held)
        moving = promise > _PRECISION * (1.0 + np.abs(found[active]))
        active, step, part, data = active[moving], step[moving], part.where(moving), _rows(data, moving)
        if not len(active):
            break
        theta[active], found[active] = _descend(part, data, theta[active], step, found[active])
    return _fit(models, observed, theta)


def _fit(models: Models, observed: Observations, theta: Array) -> Fit:
    signal, backgrounds = expectation(models, theta[:, 0], theta[:, 1:])
    gamma = _gamma(models, observed, signal, backgrounds.sum(axis=1))
    residual = 1.0 - _ratio(observed.counts, signal + gamma * backgrounds.sum(axis=1))
    slope = (models.signal * residual).sum(axis=1)
    return Fit(theta[:, 0].copy(), theta[:, 1:].copy(), gamma, _evaluate(models, observed, theta), slope)


def _rows(observed: Observations, rows: Array) -> Observations:
    """The data of ``rows``; constraints that are the same for all stay one row."""
    return Observations(*(a if len(a) == 1 and len(observed.counts) != 1 else a[rows] for a in _arrays(observed)))


def _arrays(observed: Observations) -> tuple[Array, Array, Array]:
    return observed.counts, observed.alpha, observed.gamma


def _gamma(models: Models, observed: Observations, signal: Array, background: Array) -> Array:
    """γ (B, K) of largest likelihood: the positive root of b(b+τ)γ² + [(b+τ)s - b(n+τg)]γ - τ g s = 0.

    ``g`` is where the constraint is centred; the first derivative n b/(s+γb) - b + τ g/γ - τ = 0 gives the quadratic.
    """
    if models.tau is None:
        return np.ones((1, background.shape[1]))
    tau, g, n = models.tau, observed.gamma, observed.counts
    square = background * (background + tau)
    linear = (background + tau) * signal - background * (n + tau * g)
    root = np.sqrt(linear * linear + 4.0 * square * tau * g * signal)
    # Of the two ways to write the root, the one that does not subtract equal numbers.
    positive = np.where(
        linear <= 0.0, (root - linear) / (2.0 * square), 2.0 * tau * g * signal / np.maximum(root + linear, 1e-300)
    )
    return np.where(tau > 0.0, np.maximum(positive, 1e-12), 1.0)


def _evaluate(models: Models, observed: Observations, theta: Array) -> Array:
    """-ln L (B,), γ at its best."""
    signal, backgrounds = expectation(models, theta[:, 0], theta[:, 1:])
    background = backgrounds.sum(axis=1)
    gamma = _gamma(models, observed, signal, background)
    expected = signal + gamma * background
    nll = _half_deviance(observed.counts, expected).sum(axis=1)
    nll = nll + 0.5 * ((theta[:, 1:] - observed.alpha) ** 2).sum(axis=1)
    if models.tau is not None:
        nll = nll + (models.tau * _half_deviance(observed.gamma, gamma)).sum(axis=1)
    return np.asarray(nll)


def _half_deviance(counts: Array, expected: Array) -> Array:
    """ν - n + n ln(n/ν), by what ν differs from n: the two large terms of many counts would cancel to noise."""
    seen = counts > 0
    n = np.where(seen, counts, 1.0)
    excess = np.maximum(np.where(seen, (expected - counts) / n, 0.0), -1.0 + 1e-15)
    return np.where(seen, n * (excess - np.log1p(excess)), expected)


def _step(models: Models, observed: Observations, theta: Array, held: bool) -> tuple[Array, Array]:
    """Newton steps (B, Q) and the decrease (B,) that they promise.

    The curvature is the Gauss-Newton one, which is positive: of a bin's mean it is n/ν², softened by what γ can absorb.
    """
    signal, backgrounds = expectation(models, theta[:, 0], theta[:, 1:])
    background = backgrounds.sum(axis=1)
    gamma = _gamma(models, observed, signal, background)
    expected = signal + gamma * background
    log_kappa = np.log1p(models.relative)
    design = np.concatenate([models.signal[:, None], gamma[:, None] * backgrounds * log_kappa[:, None]], axis=1)
    residual = 1.0 - _ratio(observed.counts, expected)
    gradient = np.einsum("bqk,bk->bq", design, residual)
    gradient[:, 1:] += theta[:, 1:] - observed.alpha
    curvature = np.einsum("bqk,bk,brk->bqr", design, _curvature(models, observed, expected, background), design)
    places = np.arange(1, theta.shape[1])
    # What the exponential adds where there is too much background; where there is too little it would bend the wrong way.
    bend = np.einsum("bpk,bk->bp", gamma[:, None] * backgrounds, residual) * log_kappa**2
    curvature[:, places, places] += 1.0 + np.maximum(bend, 0.0)
    fixed = np.zeros(theta.shape, dtype=bool)
    fixed[:, 0] = held | ((theta[:, 0] <= 0.0) & (gradient[:, 0] >= 0.0))
    gradient[fixed] = 0.0
    curvature[:, 0, 0] += 1e-12 * models.signal.sum(axis=1) ** 2  # a model without counts has no curvature in μ
    curvature[fixed[:, 0], 0, :] = 0.0
    curvature[fixed[:, 0], :, 0] = 0.0
    curvature[fixed[:, 0], 0, 0] = 1.0
    step = -np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
    step[:, 1:] = np.clip(step[:, 1:], -2.0, 2.0)
    step[:, 0] = np.maximum(step[:, 0], -theta[:, 0])
    return step, -np.einsum("bq,bq->b", step, gradient)


def _curvature(models: Models, observed: Observations, expected: Array, background: Array) -> Array:
    """(B, K) curvature of -ln L in a bin's mean, never above its expectation by much: 1/ν stands in where nothing was seen."""
    weight = np.maximum(observed.counts, 1e-3 * expected) / np.maximum(expected, 1e-300) ** 2
    if models.tau is None:
        return np.asarray(weight)
    return np.asarray(weight / (1.0 + weight * background**2 / np.maximum(models.tau, 1e-12)))


def _descend(models: Models, observed: Observations, theta: Array, step: Array, before: Array) -> tuple[Array, Array]:
    """The parameters after the longest of the steps 1, 1/2, 1/4 … that does not go up, and -ln L there."""
    length = np.ones(len(theta))
    best, found = theta, before
    waiting = np.arange(len(theta))
    best = theta.copy()
    found = before.copy()
    for _ in range(30):
        trial = theta[waiting] + length[waiting, None] * step[waiting]
        value = _evaluate(models.where(waiting), _rows(observed, waiting), trial)
        good = value <= before[waiting]
        best[waiting[good]], found[waiting[good]] = trial[good], value[good]
        waiting = waiting[~good]
        if not len(waiting):
            break
        length[waiting] *= 0.5
    return best, found


def _ratio(counts: Array, expected: Array) -> Array:
    return np.asarray(counts / np.maximum(expected, 1e-300))
