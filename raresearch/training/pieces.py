"""One cell whose batches are computed in pieces, by one worker or by several, to the same bits.

A batch of B events is cut into `train.micro_batches` pieces (a power of two). Its gradient is the sum of the pieces', each by
its share of the batch's event weights, and the sum is a binary tree over the numbers of the pieces. A worker of a crew
computes the pieces of one whole branch, the branches are exchanged and summed in the same order. So the number of workers
decides who computes a piece and never what comes out, where torch's own reducer would sum in the order of a ring, which
depends on how many there are. What belongs to a piece alone: batch statistics (each piece is normalised by its own; the
running ones move by the mean of what the pieces would move them), the masks of dropout, and the draws of augmentation.

So the pieces are part of the config and change results; the workers are not and do not.

Legend: B events of a batch, P pieces, N events of a split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import nn

from raresearch.errors import SpecError
from raresearch.experiment import Batch, Experiment
from raresearch.training.batches import batches, in_turn
from raresearch.training.compiled import compile_network, compiles
from raresearch.training.crew import Crew, Solo
from raresearch.training.lanes import Lane, window_of
from raresearch.training.noise import HashedDropout, hashed
from raresearch.training.seeding import torch_seed
from raresearch.training.single import Alone
from raresearch.types import Config

LOT = 512  # events scored at once; fixed, since a product's last bits may depend on its number of rows
TOLERANCE = 1e-4  # between the loss of a batch and that of its pieces


def in_pieces(config: Config) -> bool:
    """Whether ``config`` asks for this loop."""
    own = config.get("train.precision") == "bfloat16" or bool(config.get("train.channels_last")) or compiles(config)
    return pieces_of(config) > 1 or own


def pieces_of(config: Config) -> int:
    return int(config.get("train.micro_batches", 1))  # type: ignore[arg-type]


@dataclass
class InPieces(Alone):
    """One network and its optimiser on one worker of ``crew``; every worker holds the same."""

    crew: Crew = field(default_factory=Solo)
    noise_seed: int = 0

    @classmethod
    def join(cls, lane: Lane, experiment: Experiment, study_seed: int, crew: Crew) -> InPieces:
        """The network before its first step. Raises `SpecError` where the loss of a batch is not the mean of its pieces'."""
        made = cls.begin(lane, experiment, study_seed)
        made.crew, made.noise_seed = crew, torch_seed(lane.cell, study_seed, "noise")
        if lane.cell.config.get("train.channels_last"):
            made.model.to(memory_format=torch.channels_last)
        if compiles(lane.cell.config):
            compile_network(made.model, lane.events.device)
        if type(experiment).loss is not Experiment.loss:
            made._check_loss()
        return made

    # -- training

    def _pass(self) -> float:
        """One pass over the training events in a new order; the mean training loss."""
        lane, device = self.lane, self.lane.events.device
        order, window = lane.next_order(), window_of(lane.cell.config)
        total = torch.zeros((), dtype=torch.float64, device=device)
        self.model.train()
        for rows, inputs in batches(lane.events.train.inputs, order, lane.batch_size, window, device, share=self._share):
            total += self._step(rows, inputs) * len(rows)
            lane.steps += 1
        return float(total) / len(order)

    def _mine(self) -> range:
        """The numbers of the pieces that this worker computes."""
        each = pieces_of(self.lane.cell.config) // self.crew.size
        return range(self.crew.rank * each, (self.crew.rank + 1) * each)

    def _share(self, events: int) -> slice:
        """Where this worker's pieces of a batch of ``events`` lie in it."""
        edges, mine = piece_edges(events, pieces_of(self.lane.cell.config)), self._mine()
        return slice(edges[mine.start], edges[mine.stop])

    def _step(self, rows: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """One step of the optimiser on the batch of events ``rows`` (B,), of which ``inputs`` are this worker's share; its loss."""
        weight, config = self.lane.events.train.weight, self.lane.cell.config
        edges, first = piece_edges(len(rows), pieces_of(config)), self._share(len(rows)).start
        whole = weight[rows].sum()
        before = {n: b.detach().clone() for n, b in self.model.named_buffers()}

        def leaf(number: int) -> torch.Tensor:
            start, stop = edges[number], edges[number + 1]
            some, own = rows[start:stop], {n: t[start - first : stop - first] for n, t in inputs.items()}
            return self._piece(number, some, own, weight[some].sum() / whole, before)

        mine = tree(self._mine().start, self._mine().stop, leaf)
        branches = self.crew.gather(mine)
        total = tree(0, len(branches), branches.__getitem__)
        self._apply(total, before)
        self.optimizer.step()
        return total[-1]

    def _piece(
        self,
        number: int,
        rows: torch.Tensor,
        stored: Mapping[str, torch.Tensor],
        share: torch.Tensor,
        before: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        """Gradient, loss and what floating-point buffers move by, as one vector; all by ``share``, and 0 for no events.

        ``stored``: inputs of the events ``rows``.
        """
        lane, train, config = self.lane, self.lane.events.train, self.lane.cell.config
        for name, buffer in self.model.named_buffers():
            buffer.copy_(before[name])
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), dtype=lane.events.dtype, device=lane.events.device)
        if len(rows):
            counter = lane.steps * pieces_of(config) + number
            torch.manual_seed(self._seed(counter))
            inputs = self.experiment.augment(stored, config)
            noise = torch.tensor(lane.noise, dtype=torch.int32, device=lane.events.device)
            # Compiled code takes a number for a constant, and would be compiled again for each step's.
            step = torch.tensor(counter, dtype=torch.int32, device=noise.device) if compiles(config) else counter
            with HashedDropout(noise, step):
                output = self._forward(inputs)
            loss = self.experiment.loss(output, Batch(inputs, train.label[rows], train.weight[rows]), config) * share
            loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._trained()]
            moved = [(b - before[n]) * share for n, b in self._moving()]
            return torch.cat([t.reshape(-1) for t in (*gradients, *moved, loss.detach())])

    @torch.no_grad()
    def _apply(self, vector: torch.Tensor, before: Mapping[str, torch.Tensor]) -> None:
        """Put the sum of all pieces where the optimiser looks for it."""
        start = 0
        for parameter in self._trained():
            parameter.grad = (
                vector[start : start + parameter.numel()].view_as(parameter).clone(memory_format=torch.preserve_format)
            )
            start += parameter.numel()
        for name, buffer in self._moving():
            buffer.copy_(before[name] + vector[start : start + buffer.numel()].view_as(buffer))
            start += buffer.numel()
        for name, buffer in self.model.named_buffers():
            if not buffer.is_floating_point():  # a count of batches: one more, whoever has computed them
                buffer.copy_(before[name] + 1 if name.endswith("num_batches_tracked") else before[name])

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def _moving(self) -> list[tuple[str, torch.Tensor]]:
        return [(n, b) for n, b in self.model.named_buffers() if b.is_floating_point()]

    def _seed(self, counter: int) -> int:
        """Of torch's generator for one piece: a function of the cell and the piece, so that nothing is drawn in turn."""
        low = int(hashed(torch.tensor(counter, dtype=torch.int32))) & 0xFFFFFFFF
        return self.noise_seed ^ (low << 16)

    def _forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The network's outputs, in the precision of the events."""
        if self.lane.cell.config.get("train.channels_last"):
            inputs = {n: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for n, t in inputs.items()}
        with self._autocast():
            output = self.experiment.forward(self.model, inputs, self.lane.cell.config)
        return output.to(self.lane.events.dtype)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.lane.cell.config["train.precision"] != "bfloat16":
            return nullcontext()
        return torch.autocast(self.lane.events.device.type, torch.bfloat16)

    @torch.no_grad()
    def _check_loss(self) -> None:
        lane, config = self.lane, self.lane.cell.config
        train = lane.events.train
        rows = torch.arange(min(lane.batch_size, len(train)), device=lane.events.device)
        self.model.eval()
        output = self._forward({n: t[rows] for n, t in train.inputs.items()})

        def loss(part: torch.Tensor) -> float:
            batch = Batch({n: t[part] for n, t in train.inputs.items()}, train.label[part], train.weight[part])
            return float(self.experiment.loss(output[part], batch, config))

        parts = [p for p in torch.tensor_split(rows, pieces_of(config)) if len(p)]
        whole = loss(rows)
        pieces = sum(loss(p) * float(train.weight[p].sum() / train.weight[rows].sum()) for p in parts)
        if not abs(pieces - whole) <= TOLERANCE * max(1.0, abs(whole)):
            rule = f"the experiment's loss of a batch ({whole:.6g}) is not the weighted mean of its pieces' ({pieces:.6g})"
            raise SpecError("train.micro_batches", rule, "give it the mean over events by their weights, or micro_batches: 1")

    # -- scoring

    @torch.no_grad()
    def _outputs(self, split: str) -> torch.Tensor:
        """Outputs (N, …) for every event of a split: each worker scores every ``size``-th lot."""
        events = self.lane.events.validation if split == "validation" else self.lane.events.test
        self.model.eval()
        if not len(events):
            return torch.zeros((0, 1))
        lots = range(0, len(events), LOT)
        rounds = -(-len(lots) // self.crew.size)
        # A worker without a lot in the last round scores the first one again: what it gives must have the shape of the others'.
        mine = [(number * self.crew.size + self.crew.rank) for number in range(rounds)]
        starts = [lots[number] if number < len(lots) else 0 for number in mine]
        scored = torch.stack([self._lot(inputs) for inputs in in_turn(events.inputs, starts, LOT)])
        everybody = self.crew.gather(scored)
        return torch.cat([lot for numbered in zip(*everybody, strict=True) for lot in numbered])[: len(events)]

    def _lot(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Outputs of one lot, with rows of zeros up to a whole one."""
        output = self._forward(inputs)
        return torch.cat([output, output.new_zeros(LOT - len(output), *output.shape[1:])])


def piece_edges(events: int, pieces: int) -> list[int]:
    """Where the pieces of a batch of ``events`` begin, and its end; the first ones are larger by one where it is not even.

    >>> piece_edges(10, 4), piece_edges(1, 2)
    ([0, 3, 6, 8, 10], [0, 1, 1])
    """
    even, more = divmod(events, pieces)
    return [number * even + min(number, more) for number in range(pieces + 1)]


def tree(low: int, high: int, leaf: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """The sum of ``leaf(low)`` … ``leaf(high - 1)``, of which there is a power of two, as a binary tree."""
    if high - low == 1:
        return leaf(low)
    middle = (low + high) // 2
    return tree(low, middle, leaf) + tree(middle, high, leaf)
