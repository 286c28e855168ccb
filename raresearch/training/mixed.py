"""Names in which the members of a pack may differ, for any network. Loads no torch: the planner reads it too."""

from __future__ import annotations

#: the optimiser's settings, the stop, the scaling of the inputs, how it is packed
MIXED = frozenset(
    f"train.{name}" for name in ("learning_rate", "beta1", "beta2", "weight_decay", "optimizer", "patience", "pack", "scaling")
)
