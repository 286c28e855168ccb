"""Figures of merit and their intervals: pure functions of scores, labels and weights, cited, weight-aware.

`base` is the contract, `foms` the built-ins by name, `intervals` the statistics that stands on its own.
"""
