"""Upper limits from a binned likelihood: asymptotic and expected, many models at once, with toys and pyhf beside them.

Here and not beside `raresearch.statistics`, because experiments make figures of merit of limits, and an experiment imports
metrics but nothing above them.
"""

from raresearch.metrics.limits.asymptotic import Limits, cls, expected_limits
from raresearch.metrics.limits.fit import Fit, fit
from raresearch.metrics.limits.model import Models, Observations, background_only
from raresearch.metrics.limits.toys import toy_cls

__all__ = [
    "Fit",
    "Limits",
    "Models",
    "Observations",
    "background_only",
    "cls",
    "expected_limits",
    "fit",
    "toy_cls",
]
