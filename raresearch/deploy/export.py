"""`export`: a choice becomes one file."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from raresearch.deploy.bundle import Bundle, pack, unpack
from raresearch.deploy.card import make_card
from raresearch.deploy.frozen import Chosen, Frozen, freeze_choice, pick
from raresearch.deploy.scorer import network_dtype, require
from raresearch.errors import StoreError
from raresearch.store.files import make_folder, write_atomic
from raresearch.types import Array

if TYPE_CHECKING:
    import torch

    from raresearch.ensembles.operating import OperatingPoint

T = TypeVar("T")
SUFFIX = ".rarensemble"
TRIED = 64  # events that torch and ONNX must agree on before a file is written
AGREE = 1e-5


def export_choice(
    chosen: Chosen,
    path: Path | str,
    *,
    config: str | None = None,
    seed: int | None = None,
    fold: int | None = None,
    cut: str | OperatingPoint | None = None,
) -> Bundle:
    """Freeze one ensemble of ``chosen`` into the file ``path`` and return it as it was read back.

    ``config`` (label or id), ``seed`` and ``fold`` name the ensemble where there are several; ``cut`` the figure of merit
    whose threshold on validation is frozen with it (default: the objective, or the first other figure that cuts), or an
    operating point of this ensemble.
    Raises `SelectionError` where that is not one ensemble, `StoreError` where its weights were dropped, its network cannot
    be exported, or ``path`` holds another file; `PluginError` where onnx, onnxscript or onnxruntime is missing.
    """
    require("onnx", "onnxscript", "onnxruntime")
    frozen = freeze_choice(chosen, pick(chosen, config, seed, fold))
    parts, examples, expected = programs(frozen)
    content = pack(make_card(chosen, frozen, cut), {**parts, "weights.safetensors": _weights(frozen)})
    bundle = unpack(content, str(path))
    _refuse_disagreement(bundle, examples, expected, frozen)
    _write_once(Path(path), content)
    return bundle


def programs(frozen: Frozen) -> tuple[dict[str, bytes], dict[str, Array], Array]:
    """The ensemble as ONNX and as a torch.export program, with example events and torch's own scores of them."""
    import torch

    from raresearch.deploy.module import EnsembleModule

    module = EnsembleModule(frozen)
    arrays = examples_for(frozen)
    inputs = {name: torch.tensor(x) for name, x in arrays.items()}
    dynamic = ({name: {0: torch.export.Dim.DYNAMIC} for name in inputs},)
    with torch.no_grad(), _quiet():
        expected = module(inputs).numpy()
        program = _tried("torch.export", frozen, lambda: torch.export.export(module, (inputs,), dynamic_shapes=dynamic))
        for node in (n for part in program.graph_module.modules() for n in getattr(getattr(part, "graph", None), "nodes", ())):
            node.meta.pop("stack_trace", None)  # paths of the exporting machine, which nobody needs
        onnx = _tried("torch.onnx", frozen, lambda: _onnx(program, list(inputs)))
        target = io.BytesIO()
        torch.export.save(program, target)
    return {"ensemble.onnx": onnx, "ensemble.pt2": target.getvalue()}, arrays, expected


def examples_for(frozen: Frozen) -> dict[str, Array]:
    """`TRIED` made-up events where the training events lay: normal around the first member's scaling, whole numbers small."""
    rng = np.random.default_rng(0)
    made = {}
    for field in frozen.schema.tensors:
        x = rng.normal(size=(TRIED, *field.shape))
        scaler = frozen.members[0].scaling.get(field.name)
        if scaler is not None and scaler.kind != "none":
            wide = (-1,) + (1,) * (x.ndim - 2)
            x = scaler.shift.reshape(wide) + x * scaler.scale.reshape(wide)
        elif np.dtype(field.dtype).kind != "f":
            x = np.abs(np.rint(x)).clip(max=1)
        made[field.name] = x.astype(field.dtype).astype(network_dtype(field))
    return made


def _onnx(program: torch.export.ExportedProgram, names: list[str]) -> bytes:
    import torch

    made = torch.onnx.export(program, (), dynamo=True, verbose=False, input_names=names, output_names=["score"])
    if made is None:
        raise ValueError("torch.onnx.export made no program")
    proto: Any = made.model_proto
    for node in proto.graph.node:  # what is left of the exporter's notes on where in the code a node comes from
        del node.metadata_props[:]
        node.doc_string = ""
    return bytes(proto.SerializeToString(deterministic=True))


def _tried(what: str, frozen: Frozen, make: Callable[[], T]) -> T:
    try:
        return make()
    except Exception as error:  # the boundary to a user's network: whatever it makes the exporter raise means the same
        detail = " ".join(str(error).split())[:240]
        rule = f"{what} cannot express its network or its `logit` ({type(error).__name__}: {detail})"
        raise StoreError(f"experiment {frozen.experiment.name}", rule, "predict from the study's folder instead") from error


def _weights(frozen: Frozen) -> bytes:
    from safetensors.numpy import save

    named = {f"{i}/{n}": np.ascontiguousarray(a) for i, m in enumerate(frozen.members) for n, a in m.weights.items()}
    return bytes(save(named))


def _refuse_disagreement(bundle: Bundle, examples: dict[str, Array], expected: Array, frozen: Frozen) -> None:
    """A file whose ONNX scores differ from torch's is never written."""
    apart = np.abs(bundle.score(examples) - expected)
    allowed = AGREE + _steps(frozen)
    if not (apart <= allowed).all():
        rule = f"its ONNX differs from torch by up to {apart.max():.2g} in score"
        raise StoreError(f"experiment {frozen.experiment.name}", rule, "predict from the study's folder instead")


def _steps(frozen: Frozen) -> float:
    """How far a score may jump where a logit changes in its last bit: half a rank a member, or an isotonic slope."""
    jump = max((1.0 / len(m.reference) for m in frozen.members if m.reference is not None), default=0.0)
    calibration = frozen.ensemble.calibration
    if calibration is not None and calibration.kind == "isotonic" and len(calibration.parameters) > 2:
        half = len(calibration.parameters) // 2
        knots, values = np.asarray(calibration.parameters[:half]), np.asarray(calibration.parameters[half:])
        slope = float((np.diff(values) / np.diff(knots)).max())
        jump = min(1.0, slope * (jump + 1e-7))
    return jump


def _write_once(path: Path, content: bytes) -> None:
    """A frozen file stays frozen: another content under the same name is refused."""
    if path.exists() and path.read_bytes() != content:
        raise StoreError(str(path), "holds another file and is left alone", "give another --out, or remove it")
    make_folder(path.parent)
    write_atomic(path, lambda p: _write(p, content))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns and logs about packages and internals that are none of a user's concern."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
