"""From the nodes' reports to findings: pure comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raresearch.doctor.probe import Report
from raresearch.jobs.pins import different

SKEW = 2.0  # seconds; results do not depend on clocks, but logs, TLS and leases on object stores do
LEAST_DISK = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """What is wrong on ``node`` and what to do; ``serious``: a study would fail or be wrong there."""

    node: str
    what: str
    remedy: str
    serious: bool = True

    def __str__(self) -> str:
        return f"{self.node}: {self.what}; {self.remedy}"


def judge(reports: Sequence[Report], driver: Report, offsets: dict[str, float]) -> list[Finding]:
    """Findings about ``reports``, seen from ``driver``. ``offsets``: node → its clock minus the driver's [s]."""
    found: list[Finding] = []
    for report in reports:
        found += _installation(report, driver)
        found += _storage(report)
        found += _devices(report)
        found += _clock(report, offsets.get(report.node, 0.0))
    return found + _shared(reports, driver)


def _installation(report: Report, driver: Report) -> list[Finding]:
    found = [
        Finding(report.node, phrase, "install the same version on every node (one container image is simplest)")
        for phrase in different(driver.versions, report.versions)
    ]
    if report.code != driver.code and not found:
        rule = f"raresearch's source is {report.code} instead of {driver.code}, though the version is the same"
        found.append(Finding(report.node, rule, "install from the same commit everywhere"))
    if report.imports:
        found.append(
            Finding(report.node, f"cannot import ({report.imports})", "install `raresearch` with its dependencies there")
        )
    return found


def _storage(report: Report) -> list[Finding]:
    found = []
    if report.folder:
        found.append(Finding(report.node, f"cannot write the run folder ({report.folder})", "mount it there, or fix its owner"))
    elif report.locks:
        remedy = "mount it with locks (NFSv4; Lustre with -o flock)"
        found.append(Finding(report.node, f"byte-range locks do not work ({report.locks})", remedy))
    if 0 < report.free_disk < LEAST_DISK:
        rule = f"{report.free_disk / 2**30:.1f} GiB are free for runs"
        found.append(Finding(report.node, rule, "free space, or choose another folder", serious=False))
    return found


def _devices(report: Report) -> list[Finding]:
    if report.gpus < report.expected_gpus:
        rule = f"torch sees {report.gpus} of the {report.expected_gpus:g} GPUs that Ray offers"
        return [Finding(report.node, rule, "install a torch built for the driver's CUDA, or check the driver (nvidia-smi)")]
    return []


def _clock(report: Report, offset: float) -> list[Finding]:
    if abs(offset) > SKEW:
        return [
            Finding(report.node, f"the clock is {offset:+.1f} s off the driver's", "start chrony or ntpd there", serious=False)
        ]
    return []


def _shared(reports: Sequence[Report], driver: Report) -> list[Finding]:
    """Every node left a file before the last one looked: who does not see the others' has another disk under that name."""
    if not reports or any(r.folder for r in reports):
        return []
    everything = {name for r in (*reports, driver) for name in r.seen}
    remedy = "mount one shared file system at this path on every node"
    return [
        Finding(r.node, f"does not see {len(everything) - len(r.seen)} of the files that other nodes wrote", remedy)
        for r in (*reports, driver)
        if set(r.seen) != everything
    ]
