"""Calibration: scores that mean probabilities, fitted on validation, then frozen with the ensemble.

None of them changes the order of events except isotonic regression, which makes ties: a figure of merit that cuts may lose
thresholds by it. All take signal's share in the validation sample for its true share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from raresearch.errors import SelectionError, nearest
from raresearch.types import Array

CALIBRATIONS = ("isotonic", "temperature", "platt")
#: scores are kept this far from 0 and 1 before their logit is taken
EDGE = 1e-15


@dataclass(frozen=True)
class Calibration:
    """A monotone map of scores: ``kind`` and its frozen parameters (hashable, JSON-able).

    temperature: (1/T,); platt: (slope, offset); isotonic: the knots' scores, then as many values.
    """

    kind: str
    parameters: tuple[float, ...]

    def __call__(self, scores: Array) -> Array:
        """Calibrated scores, same shape."""
        if self.kind == "isotonic":
            half = len(self.parameters) // 2
            return np.asarray(np.interp(scores, self.parameters[:half], self.parameters[half:]))
        slope, offset = (*self.parameters, 0.0)[:2]
        return np.asarray(scipy.special.expit(slope * _logit(scores) + offset))


def calibrate(kind: str, scores: Array, label: Array, weight: Array) -> Calibration:
    """Fit ``kind`` to validation ``scores`` (N,), ``label`` (N,; -1 does not count) and ``weight`` (N,).

    Raises `SelectionError` for an unknown kind, and where one class is missing.
    """
    if kind not in CALIBRATIONS:
        raise SelectionError(f"calibrate {kind!r}", "there is no such calibration", nearest(kind, CALIBRATIONS))
    counted = (label >= 0) & (weight > 0)
    x, y, w = scores[counted], (label[counted] == 1).astype(np.float64), weight[counted]
    if not (y.any() and (1 - y).any()):
        rule = "needs signal and background on validation"
        raise SelectionError(f"calibrate {kind!r}", rule, "leave the calibration out")
    fit = {"isotonic": _isotonic, "temperature": _temperature, "platt": _platt}[kind]
    return Calibration(kind, tuple(float(p) for p in fit(x, y, w / w.sum())))


def _isotonic(x: Array, y: Array, w: Array) -> Array:
    """Pool adjacent violators (Ayer et al. 1955, doi 10.1214/aoms/1177728423), equal scores pooled first."""
    from scipy import optimize

    knots, place = np.unique(x, return_inverse=True)
    total = np.bincount(place, w)
    mean = np.bincount(place, w * y) / total
    value = optimize.isotonic_regression(mean, weights=total).x
    # Of a run of equal values only the ends matter to the interpolation.
    inner = np.r_[False, (value[1:-1] == value[:-2]) & (value[1:-1] == value[2:]), False] if len(value) > 2 else value < -1
    return np.asarray(np.r_[knots[~inner], value[~inner]])


def _temperature(x: Array, y: Array, w: Array) -> Array:
    """One factor on the logit, least log-loss (Guo et al. 2017, arXiv:1706.04599)."""
    from scipy import optimize

    z = _logit(x)
    # Between a factor of e^-7 and e^7: beyond, a separable sample asks for certainty without end.
    best = optimize.minimize_scalar(lambda log_slope: _log_loss(np.exp(log_slope) * z, y, w), bounds=(-7, 7), method="bounded")
    return np.asarray([np.exp(best.x)])


def _platt(x: Array, y: Array, w: Array) -> Array:
    """Slope and offset on the logit (Platt 1999), the slope at least 0, with a slight pull towards (1, 0)."""
    from scipy import optimize

    z = _logit(x)

    def loss(p: Array) -> tuple[float, Array]:
        pull = 1e-6 * (p - [1.0, 0.0])
        residual = w * (scipy.special.expit(p[0] * z + p[1]) - y)
        value = _log_loss(p[0] * z + p[1], y, w) + 0.5e-6 * float(((p - [1.0, 0.0]) ** 2).sum())
        return value, np.asarray([residual @ z, residual.sum()]) + pull

    return np.asarray(optimize.minimize(loss, [1.0, 0.0], jac=True, bounds=[(0.0, None), (None, None)], method="L-BFGS-B").x)


def _logit(scores: Array) -> Array:
    return np.asarray(scipy.special.logit(np.clip(scores, EDGE, 1.0 - EDGE)))


def _log_loss(z: Array, y: Array, w: Array) -> float:
    return float(w @ (np.logaddexp(0.0, z) - y * z))
