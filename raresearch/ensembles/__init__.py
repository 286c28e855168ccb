"""Which epochs form an ensemble, how their scores combine, and at which threshold they work.

Belongs here: selection rules, combination, evaluation on validation. Does not belong here: the formulas of figures of merit
(`metrics`), reading files (`store`), opening the seal (`api`).
"""
