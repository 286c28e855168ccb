"""`StudySpec`: one study as a value, read from YAML, stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raresearch import plugins
from raresearch.errors import PluginError, SpecError
from raresearch.experiment import Experiment, parameters
from raresearch.space import Space
from raresearch.spec import overlay, reader
from raresearch.spec.check import as_default, check_study
from raresearch.spec.nodes import Node, dump, read_yaml, wrap
from raresearch.spec.parts import Component, ExecutionSpec, Racing, Retention, SplitSpec, Stage, Statistic, Stopping
from raresearch.types import Config, deciding, digest


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a study was read: its file, the folder that `./file.py:Name` starts from, the scale, and the place of each part."""

    file: str = ""
    base_dir: str = ""
    scale: str | None = None
    places: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)


@dataclass(frozen=True)
class StudySpec:
    """One study: what is trained, how often, on which events, and what is asked of it. See `raresearch.spec` for the YAML.

    ``second``: the other figure of merit of a search for two; whatever needs an order (tables, stages) goes by ``objective``.
    ``origin`` says where it was read and does not take part in comparisons: the same text elsewhere is the same study.
    """

    name: str
    experiment: str
    seed: int = 0
    fixed: Config = field(default_factory=dict)
    space: Space = field(default_factory=lambda: Space({}))
    searcher: Component = field(default_factory=lambda: Component("grid"))
    repeats: int = 1
    folds: int = 1
    split: SplitSpec = field(default_factory=SplitSpec)
    objective: Component = field(default_factory=lambda: Component("roc_auc"))
    second: Component | None = None
    statistic: Statistic = "mean"
    figures_of_merit: tuple[Component, ...] = ()
    selection: Component = field(default_factory=lambda: Component("best_epoch", {"by": "val_loss"}))
    keep: Retention = field(default_factory=Retention)
    execution: ExecutionSpec = field(default_factory=ExecutionSpec)
    racing: Racing | None = None
    stopping: Stopping | None = None
    stages: tuple[Stage, ...] = ()
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def base_dir(self) -> Path:
        """The folder that relative references (`./file.py:Name`) start from."""
        return Path(self.origin.base_dir or ".")

    @property
    def scale(self) -> str | None:
        """The overlay that was applied."""
        return self.origin.scale

    def place(self, path: str) -> str:
        """Where ``path`` ("repeats", "fixed.train.epochs") was written: "file:line: path", or the path alone."""
        return self.origin.places.get(path, path)

    def load_experiment(self) -> Experiment:
        """An instance of the experiment. Raises `PluginError` that names the line of the reference."""
        try:
            experiment: Experiment = plugins.build("experiments", self.experiment, {}, self.base_dir)
        except PluginError as error:
            raise PluginError(f"{self.place('experiment')}: {error.place}", error.rule, error.remedy) from error
        return experiment

    def check(self, experiment: Experiment) -> None:
        """Raise `SpecError` where names, types or numbers do not fit ``experiment``."""
        check_study(self, experiment)
        for number in range(len(self.stages)):
            check_study(self.stage(number), experiment)

    def config(self, point: Config, experiment: Experiment | None = None) -> Config:
        """The full config of a ``point`` of the space: defaults, then fixed values, then the point.

        An axis that does not exist at the point leaves its default. Integers become floats where the default is one, so
        that `dropout: 0` and `dropout: 0.0` are the same training. Without ``experiment`` it is loaded by its reference.
        """
        defaults = parameters(self.load_experiment() if experiment is None else experiment)
        return {**defaults, **{name: as_default(defaults.get(name), v) for name, v in {**self.fixed, **point}.items()}}

    def document(self) -> dict[str, Any]:
        """The study in the layout of its YAML, every default written out, as plain data."""
        written: dict[str, Any] = {
            "study": self.name,
            "experiment": self.experiment,
            "seed": self.seed,
            "fixed": {name: _plain(value) for name, value in self.fixed.items()},
            "space": {axis.pop("name"): _written(axis) for axis in self.space.to_json()["axes"]},
        }
        for key in ("searcher", "repeats", "folds", "split", "objective", "statistic"):
            written[key] = _plain(getattr(self, key))
        if self.second is not None:
            written["objective"] = [_plain(self.objective), _plain(self.second)]
        written["figures_of_merit"] = [fom.to_json() for fom in self.figures_of_merit]
        written |= {key: _plain(getattr(self, key)) for key in ("selection", "keep", "execution")}
        if self.racing is not None:
            written["racing"] = self.racing.to_json()
        if self.stopping is not None:
            written["stopping"] = self.stopping.to_json()
        if self.stages:
            written["stages"] = {s.name: s.to_json() if n else dict(s.entries) for n, s in enumerate(self.stages)}
        return written

    def stage(self, number: int, points: Sequence[Config] = ()) -> StudySpec:
        """Stage ``number`` as a study of its own, named after it; a later one trains ``points`` of the space, which the stage
        before has found. Raises `SpecError` where its overlay does not fit."""
        stage = self.stages[number]
        whole = {k: v for k, v in self.document().items() if k != "stages"}
        whole["study"] = f"{self.name}-{stage.name.replace('_', '-')}"
        draft, _ = overlay.document(wrap(whole))
        draft = overlay.merge(draft, wrap(stage.entries, f"{self.origin.file}: stages.{stage.name}".removeprefix(": ")).mapping)
        spec = _spec(draft, replace(self.origin, places={}))
        if not number:
            return spec
        kept = [{n: v for n, v in point.items() if n in spec.space.axes} for point in points]
        return replace(spec, searcher=Component("listed", {"configs": kept}), racing=None, stopping=None)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the store, with the order of axes, the scale and the base folder; `from_json` reads it back."""
        where = {"file": self.origin.file, "base_dir": self.origin.base_dir, "scale": self.origin.scale}
        return {**self.document(), "space": self.space.to_json(), "origin": where}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], base_dir: str | Path | None = None) -> StudySpec:
        """What `to_json` wrote; ``base_dir`` replaces the folder that it names. Raises `SpecError` where it was changed
        into something else."""
        content = dict(content)
        space, where = Space.from_json(content.pop("space")), dict(content.pop("origin"))
        if base_dir is not None:
            where["base_dir"] = str(base_dir)
        draft, _ = overlay.document(wrap(content))
        return replace(_spec(draft, Origin(**where)), space=space)

    def dump_yaml(self) -> str:
        """YAML that loads as an equal study, if it lies in the same folder."""
        return dump(self.document())

    def identity(self) -> str:
        """Digest of all that decides which numbers come out.

        In: experiment, seed, fixed values, space, searcher, racing, stopping, folds, split, repeats, objective, statistic and selection
        (these four make the score that a searcher hears). Out: `train.pack`; the study's name; `stages`, of which each is a
        study; `execution`, because random streams do not depend on scheduling or machines; `keep`, because it decides what
        stays on disk and not its value; and `figures_of_merit`, which are computed from the store afterwards. The
        experiment's version is the store's to add.
        """
        content = self.to_json()
        parts = {key: content[key] for key in _DECIDING}
        parts["fixed"] = deciding(content["fixed"])
        parts |= {key: content[key] for key in ("racing", "stopping") if key in content}
        axes = sorted(self.space.to_json()["axes"], key=lambda axis: str(axis["name"]))
        return digest({**parts, "space": axes})


_DECIDING = (
    "experiment",
    "seed",
    "fixed",
    "searcher",
    "repeats",
    "folds",
    "split",
    "objective",
    "statistic",
    "selection",
)


def load(path: str | Path, scale: str | None = None, sets: Sequence[str] = ()) -> StudySpec:
    """The study in the YAML file ``path``, with the overlay ``scale`` and then each `PATH=VALUE` of ``sets`` over it.

    Every overlay of the file is read, so that a mistake in one is found now and not on the day it is used.
    Raises `SpecError`: "file:line: dotted.path: rule; remedy".
    """
    draft, overlays = overlay.document(_read(path))
    for name in overlays:
        reader.read(overlay.apply_scale(draft, overlays, name, str(path)), str(path))
    if scale is not None:
        draft = overlay.apply_scale(draft, overlays, scale, str(path))
    for assignment in sets:
        draft = overlay.apply_set(draft, assignment)
    return _spec(draft, Origin(str(path), str(Path(path).resolve().parent), scale))


def scales(path: str | Path) -> tuple[str, ...]:
    """Names of the overlays in the YAML file ``path``."""
    return tuple(overlay.document(_read(path))[1])


def _read(path: str | Path) -> Node:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SpecError(
            str(path), "there is no such file", "`raresearch list studies` shows those that come with it"
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError(str(path), f"is not UTF-8 text (byte {error.start})", "is it a YAML file?") from error
    except OSError as error:
        raise SpecError(str(path), f"cannot be read: {error.strerror}", "check the path and its permissions") from error
    return read_yaml(text, str(path))


def _spec(draft: overlay.Draft, origin: Origin) -> StudySpec:
    values = reader.read(draft, origin.file)
    places = {key: node.place for key, node in draft.entries.items()}
    for section in ("fixed", "space"):
        if section in draft.entries:
            inner = overlay.flat(draft.entries[section]) if section == "fixed" else draft.entries[section]
            places |= {f"{section}.{name}": node.place for name, node in inner.mapping.items()}
    return StudySpec(**values, origin=replace(origin, places=places))


def _written(axis: dict[str, Any]) -> dict[str, Any]:
    """An axis as YAML writes it: labels are the keys of their values."""
    labels = axis.pop("labels", None)
    return {**axis, "choice": dict(zip(labels, axis["choice"], strict=True))} if labels else axis


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value
