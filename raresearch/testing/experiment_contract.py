"""What every experiment must keep. Inherit `ExperimentContract` and give `experiment` (and `config`, for quick settings)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from raresearch.experiment import COMMON_DEFAULTS, Experiment, parameters
from raresearch.types import Config


class ExperimentContract:
    """Obligations of `raresearch.experiment.Experiment`, as tests."""

    experiment: Experiment
    config: ClassVar[Config] = {}
    events: ClassVar[int] = 200

    def _config(self) -> Config:
        return {**parameters(self.experiment), **self.config}

    def _simulated(self, seed: int, n: int) -> dict[str, np.ndarray]:
        return self.experiment.simulate(self._config(), np.random.default_rng(seed), n)

    def test_it_has_a_name_and_describes_every_parameter(self) -> None:
        assert self.experiment.name
        known = set(self.experiment.defaults)
        assert set(self.experiment.described) <= known, "describes parameters that it does not have"
        # `data.events` and its like are described once for all experiments; an experiment may only change their defaults.
        assert known - set(COMMON_DEFAULTS) <= set(self.experiment.described), "a parameter without a description"
        assert all(n.startswith(("data.", "model.", "train.")) for n in self.experiment.defaults)

    def test_simulated_events_follow_the_schema(self) -> None:
        schema = self.experiment.schema()
        events = self._simulated(1, self.events)
        for tensor in schema.tensors:
            assert events[tensor.name].shape == (self.events, *tensor.shape)
            assert events[tensor.name].dtype == np.dtype(tensor.dtype)
            assert np.isfinite(events[tensor.name]).all()
        for name in schema.observers:
            assert events[name].shape == (self.events,)
            assert np.isfinite(events[name]).all()
        assert set(np.unique(events["class"]).tolist()) <= set(range(len(schema.classes)))
        assert set(schema.labels(events["class"]).tolist()) >= {0, 1}

    def test_the_same_stream_gives_the_same_events_and_another_stream_others(self) -> None:
        first, again, other = self._simulated(1, 50), self._simulated(1, 50), self._simulated(2, 50)
        for name, column in first.items():
            np.testing.assert_array_equal(column, again[name])
        tensor = self.experiment.schema().tensors[0].name
        assert not np.array_equal(first[tensor], other[tensor])

    def test_the_network_gives_one_finite_logit_an_event_and_its_loss_has_a_gradient(self) -> None:
        import torch

        from raresearch.experiment import Batch

        config = self._config()
        events = self._simulated(3, 64)
        schema = self.experiment.schema()
        label = schema.labels(events["class"])
        rows = label >= 0
        torch.manual_seed(0)
        model = self.experiment.model(config)
        inputs = {t.name: torch.tensor(events[t.name][rows], dtype=torch.float32) for t in schema.tensors}
        inputs = {n: (x - x.mean(0)) / (x.std(0) + 1e-6) for n, x in inputs.items()}
        output = self.experiment.forward(model, inputs, config)
        logit = self.experiment.logit(output, config)
        assert logit.shape == (int(rows.sum()),)
        assert bool(torch.isfinite(logit).all())
        batch = Batch(inputs, torch.tensor(label[rows], dtype=torch.float32), torch.ones(int(rows.sum())))
        self.experiment.loss(output, batch, config).backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in model.parameters() if p.requires_grad]
        assert gradients
        assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)
        assert any(bool((g != 0).any()) for g in gradients if g is not None)
