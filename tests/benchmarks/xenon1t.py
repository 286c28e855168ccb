"""XENON1T: events a second, and what the paper's network makes of each kind of picture beside trees on the two charges.

    python tests/benchmarks/xenon1t.py [--events 4000] [--epochs 25] [--batch 20] [--seeds 2] [--wide] [--json]

Half of the events train, half judge; every picture shows the same ones. Areas under the ROC curve with one-sigma intervals,
rejection of ER at 50 % of WIMPs. "charges": boosted trees on log cS1 and log cS2, which no picture shows exactly.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from raresearch.experiment import Batch, Experiment
from raresearch.experiments.xenon1t.experiment import Xenon1T, Xenon1TWide
from raresearch.metrics.foms import Accuracy, Rejection, RocAuc
from raresearch.types import Array, Config

Row = dict[str, object]


def simulated(experiment: Experiment, image: str, events: int) -> tuple[dict[str, Array], float]:
    """Events, and how many a second of processor time."""
    started = time.process_time()
    found = experiment.simulate({"data.image": image}, np.random.default_rng(1), events)
    return found, events / (time.process_time() - started)


def trained(experiment: Experiment, config: Config, found: dict[str, Array], epochs: int, batch: int, seed: int) -> Array:
    """Scores of the second half of the events, by a network trained on the first."""
    torch.manual_seed(seed)
    model = experiment.model(config)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    half = len(found["class"]) // 2
    image = torch.from_numpy(found["image"])
    label = torch.from_numpy(found["class"]).float()
    for _ in range(epochs):
        model.train()
        for rows in torch.split(torch.randperm(half), batch):
            events = Batch({"image": image[rows].float()}, label[rows], torch.ones(len(rows)))
            optimizer.zero_grad()
            experiment.loss(experiment.forward(model, events.inputs, config), events, config).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model.eval()
    with torch.no_grad():
        parts = [experiment.forward(model, {"image": rows.float()}, config) for rows in torch.split(image[half:], 200)]
    scores: Array = torch.sigmoid(experiment.logit(torch.cat(parts), config)).numpy()
    return scores


def charges(found: dict[str, Array]) -> Array:
    """Scores of the second half by trees on the two corrected charges."""
    features = np.log(np.stack([found["cS1"], found["cS2"]], axis=1))
    half = len(features) // 2
    trees = HistGradientBoostingClassifier(random_state=0, max_depth=5).fit(features[:half], found["class"][:half])
    scores: Array = trees.predict_proba(features[half:])[:, 1]
    return scores


def judged(name: str, seed: int, scores: Array, found: dict[str, Array], **more: object) -> Row:
    label = found["class"][len(found["class"]) // 2 :]
    foms = {"auc": RocAuc(), "accuracy": Accuracy(), "rejection_50": Rejection(0.5)}
    values = {n: fom(scores, label) for n, fom in foms.items()}
    return {"picture": name, "seed": seed, **{n: [e.value, e.low, e.high] for n, e in values.items()}, **more}


def rows(arguments: argparse.Namespace) -> Iterator[Row]:
    kinds = ["hit", "peak", "hitpeak", *(["hitpeak100"] if arguments.wide else [])]
    for image in kinds:
        experiment = Xenon1TWide() if image == "hitpeak100" else Xenon1T()
        found, rate = simulated(experiment, image, arguments.events)
        if image == "hit":
            yield judged("charges", 0, charges(found), found)
        config = {**experiment.defaults, "data.image": image}
        for seed in range(arguments.seeds):
            started = time.process_time()
            scores = trained(experiment, config, found, arguments.epochs, arguments.batch, seed)
            spent = time.process_time() - started
            yield judged(image, seed, scores, found, events_per_second=rate, seconds=spent)


def shown(row: Row) -> str:
    figures = [f"{n} {v[0]:.4f} [{v[1]:.4f}, {v[2]:.4f}]" for n, v in row.items() if isinstance(v, list)]
    speed = f"  {row['events_per_second']:.0f} events/s, {row['seconds']:.0f} s" if "seconds" in row else ""
    return f"{row['picture']!s:10} seed {row['seed']}  " + "  ".join(figures) + speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    for name, default in (("events", 4000), ("epochs", 25), ("batch", 20), ("seeds", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--wide", action="store_true", help="also hitpeak100: HitPeak as fine as the others")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for row in rows(arguments):
        print(json.dumps(row) if arguments.json else shown(row), flush=True)


if __name__ == "__main__":
    main()
