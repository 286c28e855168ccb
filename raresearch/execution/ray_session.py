"""Starting, joining and leaving Ray quietly."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from raresearch.errors import UserError

# Set before Ray starts: they are read by its processes. Each is a measured or documented need:
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # Tune's own loggers cost more than a small cell
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2": "1",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # at the default of 2 s a cell's end, or a worker's, is noticed so late
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",  # others took the place that was there: then we look again
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry from a physicist's laptop unless she asks for it
    "OMP_NUM_THREADS": "1",  # two workers of two threads fight over two cores
}


@contextmanager
def ray_session(address: str | None, workers: int | None) -> Iterator[int]:
    """Ray for the time of the block; yields the number of CPUs at hand.

    ``address`` None: the cluster that RAY_ADDRESS names, else a private one with ``workers`` CPUs (None: all), which ends
    with the block. A session that somebody else began stays as it is.
    """
    if ray.is_initialized():
        yield int(ray.cluster_resources().get("CPU", 1))
        return
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get("RAY_ADDRESS") or None
    own = address is None
    try:
        ray.init(
            # Not None: Ray would join any cluster that somebody runs on this machine, with another token and other CPUs.
            address="local" if own else address,
            num_cpus=workers if own else None,
            include_dashboard=False if own else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Ray at {address or 'this machine'}", line, "check --address, or leave it out to run here") from error
    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        ray.shutdown()
