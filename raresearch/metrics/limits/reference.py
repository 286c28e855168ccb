"""The same models in pyhf (Heinrich, Feickert, Stark, Cranmer, JOSS 6 (2021) 2823): the reference that `asymptotic` is held to.

Needs the package pyhf, which nothing else here does: an expected limit of a search with 72 bins takes it a second, and one
figure of merit with its bootstrap interval needs a hundred of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from raresearch.errors import DataError, UserError
from raresearch.metrics.intervals import check_level
from raresearch.metrics.limits.model import Models
from raresearch.types import Array


def workspace(models: Models) -> dict[str, Any]:
    """The single model of ``models`` as a pyhf model specification; raises `DataError` where pyhf cannot say the same."""
    if models.size != 1 or (models.tau is not None and len(models.relative) != 1):
        raise DataError("limits: pyhf", "one model, and where bins have their own constraints one background, is needed")
    samples = [
        {
            "name": "signal",
            "data": models.signal[0].tolist(),
            "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
        }
    ]
    for number, (expected, relative) in enumerate(zip(models.backgrounds[0], models.relative, strict=True)):
        modifiers: list[dict[str, Any]] = []
        if relative > 0:
            norm = {"hi": 1.0 + float(relative), "lo": 1.0 / (1.0 + float(relative))}
            modifiers.append({"name": f"norm_{number}", "type": "normsys", "data": norm})
        if models.tau is not None:
            sd = (expected / np.sqrt(models.tau)).tolist()
            modifiers.append({"name": "bins", "type": "shapesys", "data": sd})
        samples.append({"name": f"background_{number}", "data": expected.tolist(), "modifiers": modifiers})
    return {"channels": [{"name": "search", "samples": samples}]}


def pyhf_model(models: Models) -> Any:
    """A `pyhf.Model`. Raises `UserError` where pyhf is not installed."""
    try:
        import pyhf
    except ImportError as error:
        raise UserError("limits: pyhf", "is not installed", "pip install pyhf") from error
    # Code 1 is the exponential κ^α; pyhf's default, code 4, bends it to a polynomial inside one sigma.
    settings = {"normsys": {"interpcode": "code1"}}
    spec = workspace(models)
    return pyhf.Model(spec, poi_name="mu", modifier_settings=settings)


def pyhf_expected_limits(models: Models, level: float = 0.9) -> tuple[float, float, float]:
    """(median, low, high) as `raresearch.metrics.limits.expected_limits` gives them, by pyhf alone."""
    made = pyhf_model(models)
    import pyhf

    data = models.backgrounds[0].sum(axis=0).tolist() + made.config.auxdata
    guess = _scale(models)
    bounds = [
        (0.0, 100.0 * guess) if n == "mu" else b
        for n, b in zip(made.config.par_names, made.config.suggested_bounds(), strict=True)
    ]
    # Not `upper_limit`: without a grid of its own it does not hand its ``level`` on (0.7.6) and answers for 95 %.
    scan = pyhf.infer.intervals.upper_limits.toms748_scan
    _, expected = scan(data, made, 0.1 * guess, 10.0 * guess, level=1.0 - check_level(level), rtol=1e-7, par_bounds=bounds)
    low, median, high = (float(expected[n]) for n in (1, 2, 3))
    return median, low, high


def _scale(models: Models) -> float:
    """A strength of the order of the limit: √b over s, all bins together."""
    background: Array = models.backgrounds[0].sum(axis=0)
    information = (models.signal[0] ** 2 / np.maximum(background, models.signal[0])).sum()
    return float(1.0 / np.sqrt(information))
