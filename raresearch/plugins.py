"""Parts that are looked up by name: experiments, searchers, selection rules, figures of merit.

A reference is a short name (an entry point of the group `raresearch.<kind>`), "package.module:Name", or "./file.py:Name".
Built-ins are found as a stranger's are: by entry point.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from raresearch.errors import PluginError, SpecError, nearest
from raresearch.experiment import Experiment

#: what a class must have to be of a kind; experiments must be subclasses of `Experiment`
KINDS: Mapping[str, tuple[str, ...]] = {
    "experiments": (),
    "searchers": ("ask", "tell"),
    "rules": ("choose",),
    "foms": (),
}
_PREFIX = "raresearch_file_"
_SOURCE = "__raresearch_source__"


def names(kind: str) -> tuple[str, ...]:
    """Short names that exist for ``kind``, sorted. Raises `PluginError` for an unknown kind."""
    return tuple(sorted(_entry_points(kind)))


def resolve(kind: str, reference: str, base_dir: str | Path | None = None) -> Any:
    """What ``reference`` names: usually a class. Files are looked for from ``base_dir`` (default: the current folder).

    ":Name" may be left out of a file that defines exactly one thing of the kind. Raises `PluginError`: an unknown name with
    the nearest that exists; a module that fails to import with file, line and the exception's text.
    """
    if kind not in KINDS:
        raise PluginError(f"plug-ins of kind {kind!r}", "there is no such kind", nearest(kind, KINDS))
    file, name = _as_file(reference)
    if file is not None:
        module = _load_file(Path(base_dir or ".") / file, reference)
        found = _attribute(module, name, reference) if name else _only_one(kind, module, reference)
    elif ":" in reference:
        module_name, _, name = reference.partition(":")
        found = _attribute(_import(module_name, reference), name, reference)
    else:
        found = _load_entry_point(kind, reference)
    if not _is_of_kind(kind, found):
        wanted = "a subclass of raresearch.Experiment" if kind == "experiments" else _wanted(kind)
        raise PluginError(reference, f"is not {wanted}", f"{kind} known here: {', '.join(names(kind))}")
    return found


def build(kind: str, name: str, options: Mapping[str, Any], base_dir: str | Path | None = None, **given: Any) -> Any:
    """An instance of what ``name`` resolves to, made with ``options`` from YAML and what the caller has ``given``.

    Of ``given`` and ``base_dir``, the constructor receives what it has parameters for; options cannot override it. Raises
    `PluginError`, and `SpecError` at "name.option" for an option that does not exist, is missing, or is refused by the constructor.
    """
    target = resolve(kind, name, base_dir)
    given = {"base_dir": None if base_dir is None else Path(base_dir), **given}
    accepted = inspect.signature(target).parameters
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    fixed = {key: value for key, value in given.items() if key in accepted}
    free = {key: p for key, p in accepted.items() if key not in given and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    for option in options:
        if option in given:
            raise SpecError(f"{name}.{option}", "is set by the study itself", "remove the option")
        if option not in free and not anything:
            raise SpecError(f"{name}.{option}", "there is no such option", nearest(option, free) if free else "it has none")
    for option, parameter in free.items():
        if option not in options and parameter.default is parameter.empty:
            raise SpecError(f"{name}.{option}", "this option is needed", f"write {name}: {{{option}: …}}")
    try:
        return target(**fixed, **options)
    except (TypeError, ValueError) as error:
        raise SpecError(name, f"does not accept {dict(options)}: {_first_line(error)}") from error


def from_file(module: ModuleType) -> bool:
    """Whether ``module`` was loaded from a file here.

    Other processes cannot import such a module: hand it to `ray.cloudpickle.register_pickle_by_value` before its classes
    travel (`sys.modules[type(thing).__module__]` is the module of a thing).
    """
    return module.__name__.startswith(_PREFIX)


@cache  # what is installed does not change while a process runs, and looking takes tens of milliseconds
def _entry_points(kind: str) -> dict[str, EntryPoint]:
    if kind not in KINDS:
        raise PluginError(f"plug-ins of kind {kind!r}", "there is no such kind", nearest(kind, KINDS))
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"raresearch.{kind}"):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            rule = f"is declared by two packages: {other.value} and {point.value}"
            raise PluginError(point.name, rule, "write package.module:Name")
    return found


def _load_entry_point(kind: str, name: str) -> Any:
    known = _entry_points(kind)
    if name not in known:
        raise PluginError(
            name, f"is not one of the {kind}", nearest(name, known) + "; or write package.module:Name, ./file.py:Name"
        )
    module_name, _, attribute = known[name].value.partition(":")
    return _attribute(_import(module_name, name), attribute.strip(), name)


def _as_file(reference: str) -> tuple[str | None, str]:
    """("./file.py", "Name"), or (None, "") where the reference is not to a file."""
    if reference.endswith(".py"):
        return reference, ""
    file, _, name = reference.rpartition(":")
    return (file, name) if file.endswith(".py") else (None, "")


def _load_file(path: Path, reference: str) -> ModuleType:
    """The module of a file, under a name that is the same in every run and process. A changed file is loaded anew."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PluginError(reference, f"cannot read {path}: {error.strerror}", "paths start from the YAML's folder") from error
    path = path.resolve()
    stem = re.sub(r"\W", "_", path.stem)
    name = f"{_PREFIX}{stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:10]}"
    fingerprint = hashlib.sha256(source).hexdigest()
    known = sys.modules.get(name)
    if known is not None and getattr(known, _SOURCE, None) == fingerprint:
        return known
    module = ModuleType(name)
    module.__file__ = str(path)
    setattr(module, _SOURCE, fingerprint)
    sys.modules[name] = module  # before it runs: dataclasses and pickle look their module up there
    try:
        # Compiled here rather than by an import, whose cache on disk goes by time stamps of a second.
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # a user's file can raise anything; all of it is this one message
        del sys.modules[name]
        raise PluginError(_where(error, path), f"fails: {_first_line(error)}", "mend the file; --debug shows it all") from error
    return module


def _import(module_name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            rule = f"there is no module {error.name!r}"
            raise PluginError(reference, rule, "install its package, or write ./file.py:Name") from error
        raise PluginError(_where(error), f"fails: {_first_line(error)}", "install what is missing") from error
    except (Exception, SystemExit) as error:  # as above: importing runs a stranger's code
        raise PluginError(_where(error), f"fails: {_first_line(error)}", "mend the module; --debug shows it all") from error


def _attribute(module: ModuleType, name: str, reference: str) -> Any:
    try:
        return attrgetter(name)(module)
    except AttributeError as error:
        public = [key for key in vars(module) if not key.startswith("_")]
        raise PluginError(reference, f"{module.__file__} has no {name!r}", nearest(name, public)) from error


def _only_one(kind: str, module: ModuleType, reference: str) -> Any:
    own = [v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__]
    fitting = [c for c in own if not c.__name__.startswith("_") and _is_of_kind(kind, c)]
    if len(fitting) != 1:
        defined = ", ".join(c.__name__ for c in fitting) or "none"
        example = fitting[0].__name__ if fitting else "Name"
        raise PluginError(reference, f"must define exactly one of the {kind}, not {defined}", f"write {reference}:{example}")
    return fitting[0]


def _is_of_kind(kind: str, found: Any) -> bool:
    if kind == "experiments":
        return inspect.isclass(found) and issubclass(found, Experiment)
    return callable(found) and all(hasattr(found, method) for method in KINDS[kind])


def _wanted(kind: str) -> str:
    methods = KINDS[kind]
    return f"a class with {' and '.join(methods)}" if methods else "a class or function"


def _where(error: BaseException, path: Path | None = None) -> str:
    """ "file:line" of what failed: the deepest line in ``path``, or outside the machinery of imports."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<") and f.filename != __file__]
    frames = [f for f in frames if not f.filename.endswith("importlib/__init__.py")]
    own = [f for f in frames if path is not None and f.filename == str(path)] or frames
    return f"{own[-1].filename}:{own[-1].lineno}" if own else str(path or "")


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
