"""Chaos: a study over three raylets under a seeded stream of faults must end with the undisturbed run's tables, bit for bit.

    python tests/cluster/chaos.py --seeds 25 [--first 0] [--json]

Faults of every seed, in random order at random moments: kill -9 of two workers, of a raylet (a new one joins), of the driver
(followed by the same command), a full disk, a clock step of up to a day; and from the first moment on every tenth fsync or
rename in the store fails. Every third seed also loses the head, and with it the whole cluster. Only processes that this one
started are ended, by their ids.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

import raresearch as rs

CELLS, EPOCHS = 64, 3
EXPERIMENT = """
import time
from raresearch.testing.toy import Toy


class Slow(Toy):
    name = "slow"

    def forward(self, model, inputs, config):
        if not model.training:
            time.sleep(0.02)  # so that faults find cells under way
        return super().forward(model, inputs, config)
"""
STUDY = f"""
study: chaos
experiment: ./slow.py
seed: 9
fixed: {{data.events: 600, train.epochs: {EPOCHS}, train.batch_size: 64}}
space:
  model.hidden: {{choice: [{", ".join(f"[{width}]" for width in range(3, 3 + CELLS // 4))}]}}
repeats: 4
objective: roc_auc
execution: {{backend: ray_tune, workers: 3, retries: 12}}
"""
FAULTS = ("worker", "worker", "raylet", "driver", "disk", "clock")
HERE = Path(__file__).resolve().parent
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


class Machines:
    """Three raylets on this machine, with a token of their own."""

    def __init__(self, folder: Path) -> None:
        token = folder / "token"
        token.write_text("0" * 64)
        token.chmod(0o600)
        # A temporary folder of its own: else every `ray.init()` on this machine would join these raylets while they last.
        os.environ |= {
            "RAY_TMPDIR": str(folder / "ray"),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.start()

    def start(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": QUICK})
        self.others = [self.cluster.add_node(**NODE) for _ in range(2)]

    def kill_raylet(self, rng: random.Random) -> None:
        self.cluster.remove_node(self.others.pop(rng.randrange(2)), allow_graceful=False)
        self.others.append(self.cluster.add_node(**NODE))

    def stop(self) -> None:
        self.cluster.shutdown()


class Disturbed:
    """One run of the study under the faults of ``seed``."""

    def __init__(self, seed: int, folder: Path, machines: Machines, rules: Path) -> None:
        self.rng = random.Random(seed)
        self.folder, self.machines, self.rules_file = folder, machines, rules
        self.run = folder / "disk" / "run"
        self.run.parent.mkdir(parents=True)
        self.mounted = os.geteuid() == 0 and mount(self.run.parent)
        self.rules = {"root": str(self.run.parent), "every": 10, "full": False, "step": 0.0}
        self.starts, self.done = 0, Counter()
        faults = [*FAULTS, *(["head"] if seed % 3 == 2 else [])]
        self.rng.shuffle(faults)
        moments = sorted(self.rng.randrange(1, CELLS - 8) for _ in faults)
        self.plan = list(zip(moments, faults, strict=True))

    def carry_out(self) -> None:
        self.obey()
        self.start()
        while self.plan or self.driver.poll() != 0:
            if self.driver.poll() is not None and self.driver.returncode != 0:
                if self.starts > 12:
                    raise RuntimeError(f"still not done after {self.starts} starts:\n{(self.folder / 'output').read_text()}")
                self.start()  # a user would run the same line again
            if self.driver.poll() == 0:
                break  # faster than its faults; those left are counted as not done
            if self.plan and self.landed() >= self.plan[0][0]:
                fault = self.plan.pop(0)[1]
                self.done[fault] += getattr(self, f"strike_{fault}")()
            time.sleep(0.02)

    def start(self) -> None:
        self.starts += 1
        line = [sys.executable, "-m", "raresearch.cli", "run", str(self.folder.parent / "slow.yaml"), "--out", str(self.run)]
        with (self.folder / "output").open("a") as output:
            self.driver = subprocess.Popen(
                [*line, "--address", self.machines.cluster.address], stdout=output, stderr=subprocess.STDOUT
            )

    def landed(self) -> int:
        return len(rows(self.run))

    def obey(self) -> None:
        draft = self.rules_file.with_suffix(".new")
        draft.write_text(json.dumps(self.rules))
        draft.rename(self.rules_file)

    # -- faults: 1 where it struck

    def strike_worker(self) -> int:
        pids = [int(p.stem.rsplit("-", 1)[1]) for p in self.run.glob("life/*-*.json")]
        alive = [pid for pid in sorted(pids) if Path(f"/proc/{pid}").exists() and pid != self.driver.pid]
        if alive:
            os.kill(self.rng.choice(alive), signal.SIGKILL)
        return int(bool(alive))

    def strike_raylet(self) -> int:
        self.machines.kill_raylet(self.rng)
        return 1

    def strike_driver(self) -> int:
        self.driver.kill()
        self.driver.wait()
        return 1

    def strike_disk(self) -> int:
        filler = self.run.parent / "filler"
        if self.mounted:
            fill(filler)
        self.rules |= {"full": not self.mounted}
        self.obey()
        time.sleep(self.rng.uniform(0.5, 1.5))
        filler.unlink(missing_ok=True)
        self.rules |= {"full": False}
        self.obey()
        return 1

    def strike_clock(self) -> int:
        self.rules |= {"step": self.rng.uniform(-86400, 86400)}
        self.obey()
        return 1

    def strike_head(self) -> int:
        self.strike_driver()
        self.machines.stop()
        self.machines.start()
        self.start()
        return 1

    def close(self) -> None:
        if self.driver.poll() is None:
            self.strike_driver()
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.run.parent], check=True)


def mount(folder: Path) -> bool:
    """A small disk of its own, which can really be full."""
    if shutil.which("mount") is None:
        return False
    return not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", folder], capture_output=True).returncode


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def rows(run: Path) -> list[tuple[str, str]]:
    """(cell, state) of every row of every landing, nothing merged."""
    found = []
    for landing in sorted((run / "cells").glob("*/cells.parquet")):
        table = pq.ParquetFile(landing).read(["cell", "state"])
        found += list(zip(table["cell"].to_pylist(), table["state"].to_pylist(), strict=True))
    return found


def tables(run: Path) -> tuple[object, ...]:
    """Everything that a study is judged by, without times, workers and landing names."""
    study = rs.open(run)
    cells = study.cells().drop_columns(["seconds", "memory", "worker", "pack", "landing"])
    scores = {}
    for row in study.cells().to_pylist():
        for events in (row["validation_events"], row["test_events"]):
            keys, epochs, matrix = study.store.scores(row["landing"], events)
            mine = keys == row["cell"]
            scores[row["cell"], events] = (epochs[mine].tolist(), matrix[mine].tobytes())
    return cells.to_pylist(), study.epochs().to_pylist(), scores, study.table().to_csv()


def judged(run: Path, undisturbed: tuple[object, ...]) -> dict[str, object]:
    """What became of the cells of a run that has ended."""
    landed = Counter(cell for cell, state in rows(run) if state == "done")
    expected = {row["cell"] for row in undisturbed[0]}  # type: ignore[attr-defined]
    return {
        "identical": tables(run) == undisturbed,
        "lost": len(expected - landed.keys()),
        "committed_twice": sum(count > 1 for count in landed.values()),
        "retries": json.loads((run / "life" / "driver.json").read_text())["retries"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=25)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    (folder / "slow.py").write_text(EXPERIMENT)
    (folder / "slow.yaml").write_text(STUDY)
    calm = rs.run(folder / "slow.yaml", out=folder / "calm", sets=["execution.backend=local"])
    assert calm.done() == CELLS
    undisturbed = tables(folder / "calm")
    # From here on every process that is started carries the faults.
    rules = folder / "rules.json"
    os.environ |= {"CHAOS_RULES": str(rules), "PYTHONPATH": str(HERE / "faults")}
    machines = Machines(folder)
    results = []
    try:
        for seed in range(asked.first, asked.first + asked.seeds):
            started = time.monotonic()
            disturbed = Disturbed(seed, folder / f"seed-{seed}", machines, rules)
            try:
                disturbed.carry_out()
                verdict = judged(disturbed.run, undisturbed)
            finally:
                disturbed.close()
            results.append(
                {"seed": seed, **verdict, "starts": disturbed.starts, "faults": dict(disturbed.done),
                 "seconds": round(time.monotonic() - started, 1)}
            )  # fmt: skip
            if not asked.json:
                print(results[-1], flush=True)
    finally:
        machines.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        print(json.dumps(results))
    sound = all(r["identical"] and not r["lost"] and not r["committed_twice"] for r in results)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
