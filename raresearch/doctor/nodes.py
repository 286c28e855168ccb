"""Asking every node of a Ray cluster."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from raresearch.doctor.judge import Finding, judge
from raresearch.doctor.probe import Report, probe
from raresearch.execution.ray_session import ray_session
from raresearch.store.files import make_folder

PATIENCE = 120.0  # seconds for a node to answer: its first worker imports torch


def examine(address: str | None, folder: Path | None) -> tuple[list[Report], list[Finding]]:
    """Reports of the driver and of every node, and what is wrong. Raises `UserError` where there is no cluster to ask."""
    if folder is not None:
        folder = make_folder(folder).resolve()
    try:
        with ray_session(address, None):
            return _examine(folder)
    finally:
        if folder is not None:
            shutil.rmtree(folder / ".doctor", ignore_errors=True)


def _examine(folder: Path | None) -> tuple[list[Report], list[Finding]]:
    import ray

    driver = probe("driver", folder, 0)
    nodes = {f"{n['NodeManagerHostname']} ({n['NodeID'][:6]})": n for n in ray.nodes() if n["Alive"]}
    reports: list[Report] = []
    found: list[Finding] = []
    offsets: dict[str, float] = {}
    for again in (False, True):  # the second time every node has written, and each must see what all have written
        asked = {name: _ask(name, node, folder) for name, node in nodes.items()}
        reports.clear()
        for name, reference in asked.items():
            report, offset = _answer(reference)
            if report is None:
                if again:
                    remedy = "see its raylet's logs; is its Python able to start a worker?"
                    found.append(Finding(name, f"did not answer within {PATIENCE:.0f} s", remedy))
            else:
                reports.append(report)
                offsets[name] = offset
    return [driver, *reports], [*found, *judge(reports, _looked_again(driver, folder), offsets)]


def _looked_again(driver: Report, folder: Path | None) -> Report:
    return replace(driver, seen=probe("driver", folder, 0).seen)


def _ask(name: str, node: dict[str, Any], folder: Path | None) -> tuple[Any, float]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    gpus = float(node["Resources"].get("GPU", 0))
    where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    # No CPU is asked for, so that a head without any answers too; all GPUs are, for Ray hides those that are not.
    remote = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0, scheduling_strategy=where)(probe)
    return remote.remote(name, folder, gpus), time.time()


def _answer(asked: tuple[Any, float]) -> tuple[Report | None, float]:
    """The report and how far its clock is off; None where none came. The node looked between question and answer."""
    import ray

    reference, before = asked
    try:
        report: Report = ray.get(reference, timeout=PATIENCE)
    except (ray.exceptions.RayError, TimeoutError):
        return None, 0.0
    after = time.time()
    # Anything in between is an answer to a right clock.
    return report, max(report.clock - after, 0.0) + min(report.clock - before, 0.0)
