"""Plain multi-layer perceptrons, trained many at a time with batched matrix products and a backward pass written out.

Legend: M members, B events of a batch (padded), K steps of a chunk, F padded inputs, N events. Measured on one core for
13-32-16-8-8-1 at B = 32: about 11 µs a member and step at M = 50, beside 530 µs for the same network alone under autograd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from raresearch.training.bank import Bank, padded
from raresearch.training.lanes import Lane, SplitName
from raresearch.training.layers import Layer, activation, read_layers
from raresearch.training.noise import kept, stream_key, threshold
from raresearch.types import Array

BATCH = 32  # batches are padded to whole multiples: elementwise kernels treat a vector's tail in another way than its body
CHUNK_BYTES = 2 << 20  # gathered at once: a share of the second-level cache
SCORED = 256  # events scored at once; fixed, since a product's last bits may depend on its number of rows


class MlpStack:
    """Members of the same layers; see `raresearch.training.packed.Stack` for what its methods owe."""

    def __init__(self, layers: Sequence[Layer], lanes: Sequence[Lane], models: Sequence[torch.nn.Module]) -> None:
        self.layers = tuple(layers)
        self.lanes: list[Lane] = []
        self.size = lanes[0].batch_size
        self.batch = -(-self.size // BATCH) * BATCH
        self.dtype, self.device = lanes[0].events.dtype, lanes[0].events.device
        self.activations = [activation(layer) for layer in self.layers]
        self.offsets = _offsets(self.layers)
        self.bank = Bank(self._rows(models), [lane.settings for lane in lanes])
        self.dropouts = [_rates(models)]
        self._joined(lanes)

    # -- members come and go

    def add(self, lanes: Sequence[Lane], models: Sequence[torch.nn.Module]) -> None:
        """New members after the others."""
        self.bank.add(self._rows(models), [lane.settings for lane in lanes])
        self.dropouts.append(_rates(models))
        self._joined(lanes)

    def keep(self, numbers: Sequence[int]) -> None:
        """Forget all members but ``numbers``."""
        self.bank.keep(numbers)
        self.dropouts = [torch.cat(self.dropouts, 1)[:, list(numbers)]]
        self.lanes = [self.lanes[n] for n in numbers]
        self._ready()

    def _joined(self, lanes: Sequence[Lane]) -> None:
        self.lanes += lanes
        self._ready()

    def _rows(self, models: Sequence[torch.nn.Module]) -> torch.Tensor:
        rows = torch.zeros(len(models), padded(self.offsets[-1]), dtype=self.dtype)
        for row, model in zip(rows, models, strict=True):
            # Members of one pack agree in their layers, not in the names of their parameters.
            state, own = model.state_dict(), read_layers(model) or self.layers
            for number, layer in enumerate(own):
                weight, bias = self._views(row.unsqueeze(0), number)
                weight[0, : layer.inputs, : layer.outputs] = state[layer.weight].T
                bias[0, 0, : layer.outputs] = state[layer.bias]
        return rows.to(self.device)

    def _views(self, rows: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight (M, in, out) and bias (M, 1, out) of layer ``number`` within ``rows`` (M, P)."""
        inputs, outputs = self.layers[number].shape
        start = self.offsets[number]
        stop = start + inputs * outputs
        weight = rows[:, start:stop].view(len(rows), inputs, outputs)
        return weight, rows[:, stop : stop + outputs].unsqueeze(1)

    def snapshot(self, number: int) -> dict[str, Array]:
        """Parameters of one member, named as in its own network."""
        row = self.bank.parameters[number : number + 1].detach().cpu().clone()
        state = {}
        for index, layer in enumerate(self.layers):
            weight, bias = self._views(row, index)
            state[layer.weight] = weight[0, : layer.inputs, : layer.outputs].T.numpy()
            state[layer.bias] = bias[0, 0, : layer.outputs].numpy()
        return state

    def state(self, number: int) -> dict[str, torch.Tensor]:
        """What the further epochs of one member depend on besides its lane; copies."""
        return self.bank.member(number)

    def restore(self, number: int, state: Mapping[str, torch.Tensor]) -> None:
        """Put back what `state` gave."""
        self.bank.restore(number, state)

    # -- buffers

    def _ready(self) -> None:
        m, numbers = len(self.lanes), range(len(self.layers))
        views = [self._views(self.bank.parameters, n) for n in numbers]
        self.weights, self.biases = [w for w, _ in views], [b for _, b in views]
        self.gradients = [self._views(self.bank.gradients, n) for n in numbers]
        widths = [layer.shape[1] for layer in self.layers]
        self.outputs = [self._buffer(m, self.batch, w) for w in widths]
        self.deltas = [self._buffer(m, self.batch, w) for w in widths]
        self.inner = [
            self.outputs[n] if a is None or not a.from_input else self._buffer(m, self.batch, widths[n])
            for n, a in enumerate(self.activations)
        ]
        self.products = [self._buffer(m, *layer.shape) for layer in self.layers]
        self.scoring = [self._buffer(m, SCORED, w) for w in widths]
        self.noise = torch.tensor([lane.noise for lane in self.lanes], dtype=torch.int32, device=self.device).view(m, 1, 1)
        # Members' folds, each once, behind one another; a member's events start at its fold's offset.
        folds = list({id(lane.events): lane.events for lane in self.lanes}.values())
        starts = np.r_[0, np.cumsum([len(f.train) for f in folds])]
        self.start = [int(starts[[f is lane.events for f in folds].index(True)]) for lane in self.lanes]
        self.x = torch.cat([f.flat("train", self.layers[0].shape[0]) for f in folds])
        self.y = torch.cat([f.train.label for f in folds])
        self.w = torch.cat([f.train.weight for f in folds])
        self._set_dropout()

    def _set_dropout(self) -> None:
        p = torch.cat(self.dropouts, 1)
        self.masks: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        for call, number in enumerate(n for n, layer in enumerate(self.layers) if layer.dropout is not None):
            limit = torch.tensor([threshold(float(q)) if q else -(2**31) for q in p[call]], dtype=torch.int32)
            # Scaled in double and rounded once, as Python's 1 / (1 - p) is when it meets a tensor.
            scale = (1.0 / (1.0 - p[call])).to(self.dtype)
            mask = self._buffer(len(self.lanes), self.batch, self.layers[number].shape[1])
            self.masks[number] = (limit.to(self.device).view(-1, 1, 1), scale.to(self.device).view(-1, 1, 1), mask)

    def _buffer(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    # -- training

    @torch.no_grad()
    def epoch(self) -> list[float]:
        """One pass of every member over its training events in its own new order; the mean training losses."""
        counts = np.asarray([len(lane.events.train) for lane in self.lanes])
        rows, filled = self._order(counts)
        # Of a fixed number of steps, whatever the number of members: sums within a chunk keep their order.
        chunk = max(1, CHUNK_BYTES // (32 * self.batch * self.x.shape[1] * self.x.element_size()))
        losses = [self._chunk(rows[b : b + chunk], filled[b : b + chunk], b) for b in range(0, len(rows), chunk)]
        total = np.ascontiguousarray(torch.cat(losses).double().cpu().numpy().T)
        for lane, count in zip(self.lanes, counts, strict=True):
            lane.steps += -(-int(count) // self.size)
        return [float(member.sum()) / int(n) for member, n in zip(total, counts, strict=True)]

    def _order(self, counts: Array) -> tuple[torch.Tensor, Array]:
        """Rows of ``x`` (S, M, B) of every step, and how many of the B are events (S, M), the rest being padding."""
        steps = int(-(-counts.max() // self.size))
        rows = np.zeros((steps, len(self.lanes), self.batch), dtype=np.int64)
        filled = np.clip(counts[None, :] - np.arange(steps)[:, None] * self.size, 0, self.size)
        for m, lane in enumerate(self.lanes):
            order = np.zeros(steps * self.size, dtype=np.int64)
            order[: counts[m]] = lane.next_order() + self.start[m]
            rows[:, m, : self.size] = order.reshape(steps, self.size)
        return torch.from_numpy(rows).to(self.device), filled

    def _chunk(self, rows: torch.Tensor, filled: Array, begin: int) -> torch.Tensor:
        """Train on some steps; each batch's mean loss times its number of events, (K, M)."""
        k, m, b = rows.shape
        flat = rows.reshape(-1)
        x = self.x.index_select(0, flat).view(k, m, b, -1)
        y = self.y.index_select(0, flat).view(k, m, b)
        count = torch.from_numpy(filled).to(self.device)
        inside = torch.arange(b, device=self.device) < count.unsqueeze(-1)
        w = torch.where(inside, self.w.index_select(0, flat).view(k, m, b), 0.0)
        share = torch.where(count.unsqueeze(-1) > 0, w / w.sum(-1, keepdim=True), 0.0)
        z = torch.empty_like(y)
        steps = torch.tensor([lane.steps for lane in self.lanes], dtype=torch.int32, device=self.device)
        full: Array = np.all(filled, axis=1)
        for s in range(k):
            self._step(x[s], y[s], share[s], z[s], steps + (begin + s))
            self.bank.step(None if full[s] else np.flatnonzero(filled[s]).tolist())
        loss = (functional.binary_cross_entropy_with_logits(z, y, reduction="none") * share).sum(-1)
        return loss * count

    def _step(self, x: torch.Tensor, y: torch.Tensor, share: torch.Tensor, z: torch.Tensor, step: torch.Tensor) -> None:
        """Gradients of one batch; the logits go into ``z`` (M, B)."""
        entering = [x]
        for n, layer in enumerate(self.layers):
            torch.baddbmm(self.biases[n], entering[n], self.weights[n], out=self.inner[n])
            entering.append(self._activate(n, layer, step))
        z.copy_(self.inner[-1][:, :, 0])
        # d loss / d logit of the weighted mean cross-entropy: (sigmoid(z) - y) w / sum w
        self.deltas[-1][:, :, 0] = (torch.sigmoid(z) - y) * share
        for n in reversed(range(len(self.layers))):
            self._backward(n, entering[n])

    def _activate(self, n: int, layer: Layer, step: torch.Tensor) -> torch.Tensor:
        """What leaves layer ``n``."""
        act, out = self.activations[n], self.outputs[n]
        if act is not None:
            act.function(self.inner[n], out)
            if not act.keeps_zero:
                out[:, :, layer.outputs :] = 0.0
        if n not in self.masks:
            return out
        limit, scale, mask = self.masks[n]
        call = list(self.masks).index(n)
        key = stream_key(self.noise, step.view(-1, 1, 1), call)
        mask[:, : self.size, : layer.outputs] = kept(key, (self.size, layer.outputs), limit) * scale
        return out * mask

    def _backward(self, n: int, entering: torch.Tensor) -> None:
        """Gradients of layer ``n``'s parameters, and the delta that leaves it for the layer before."""
        delta, (weight, bias) = self.deltas[n], self.gradients[n]
        product = self.products[n]
        torch.bmm(entering.transpose(1, 2), delta, out=product)
        weight.copy_(product)  # two steps: a product into a strided matrix leaves the batched path (measured: 1.6x slower)
        torch.sum(delta, 1, keepdim=True, out=bias)
        if n == 0:
            return
        before, act = self.deltas[n - 1], self.activations[n - 1]
        torch.bmm(delta, self.weights[n].transpose(1, 2), out=before)
        if n - 1 in self.masks:
            before.mul_(self.masks[n - 1][2])
        if act is not None:
            act.backward(before, self.inner[n - 1] if act.from_input else self.outputs[n - 1], before)

    # -- scoring

    @torch.no_grad()
    def outputs_of(self, split: SplitName, numbers: Sequence[int]) -> list[torch.Tensor]:
        """The networks' outputs (N, 1) of members ``numbers`` for every event of a split."""
        found: dict[int, torch.Tensor] = {}
        for events in {id(self.lanes[n].events): self.lanes[n].events for n in numbers}.values():
            members = [n for n in numbers if self.lanes[n].events is events]
            scored = self._scored(members, events.flat(split, self.layers[0].shape[0], SCORED))
            found |= {n: z[: len(events.split(split))].unsqueeze(1) for n, z in zip(members, scored, strict=True)}
        return [found[n] for n in numbers]

    def _scored(self, members: Sequence[int], x: torch.Tensor) -> torch.Tensor:
        """Logits (members, padded N) of events ``x`` (padded N, F)."""
        m, everyone = len(members), len(members) == len(self.lanes)
        rows = self.bank.parameters if everyone else self.bank.parameters[list(members)]
        views = [self._views(rows, n) for n in range(len(self.layers))]
        logits = torch.empty((m, len(x)), dtype=self.dtype, device=self.device)
        for begin in range(0, len(x), SCORED):
            h = x[begin : begin + SCORED].expand(m, -1, -1)
            for n, (weight, bias) in enumerate(views):
                out = self.scoring[n][:m]
                torch.baddbmm(bias, h, weight, out=out)
                act = self.activations[n]
                if act is not None:
                    act.function(out, out)
                h = out
            logits[:, begin : begin + SCORED] = h[:, :, 0]
        return logits


def _rates(models: Sequence[torch.nn.Module]) -> torch.Tensor:
    """Dropout probabilities (calls, M), float64."""
    rates = [[float(layer.dropout) for layer in read_layers(m) or () if layer.dropout is not None] for m in models]
    return torch.tensor(rates, dtype=torch.float64).T.reshape(-1, len(models))


def _offsets(layers: Sequence[Layer]) -> list[int]:
    """Where each layer's parameters start in a row, and where the last one ends."""
    sizes = [inputs * outputs + outputs for inputs, outputs in (layer.shape for layer in layers)]
    return [0, *np.cumsum(sizes).tolist()]
