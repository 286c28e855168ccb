"""What a config is called on a page, and how a value is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

LONGEST = 24  # characters of a label made from values; longer ones do not fit under an axis


def value_text(value: Any) -> str:
    """A config's value as a physicist writes it.

    >>> value_text((32, 16, 8)), value_text(0.0010), value_text(None), value_text("adam")
    ('32-16-8', '0.001', 'none', 'adam')
    """
    if isinstance(value, (tuple, list)):
        return "-".join(value_text(v) for v in value)
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names whose value is not the same in all ``configs`` (absent counts as a value), sorted."""
    names = sorted({name for config in configs for name in config})
    absent = object()
    return [n for n in names if any(c.get(n, absent) != configs[0].get(n, absent) for c in configs)]


def label_configs(configs: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, str]:
    """Config id → label, all different: ``given`` in its order first, then made-up ones for the other ``configs``.

    A made-up label holds the values that differ where they are short, and else the beginning of the config's id.
    """
    names = differing(list(configs.values()))
    labels = dict(given)
    for config, values in configs.items():
        if config not in labels:
            text = ", ".join(f"{n.split('.')[-1]} {value_text(values[n])}" for n in names if n in values)
            labels[config] = text if 0 < len(text) <= LONGEST else config[:6]
    often = Counter(labels.values())
    return {config: label if often[label] == 1 else f"{label} ({config[:6]})" for config, label in labels.items()}


def described(part: Any, name: str = "") -> str:
    """A plug-in and its options in a line: ``BestEpoch (by val_loss)``. Options that are unset are left out."""
    name = name or type(part).__name__
    if not is_dataclass(part) or "(" in name:
        return name
    text = _options(part)
    return f"{name} ({text})" if text else name


def _options(part: Any) -> str:
    options = {f.name: getattr(part, f.name) for f in fields(part)}
    return ", ".join(f"{n.replace('_', ' ')} {_option_text(v)}" for n, v in options.items() if v is not None and v != {})


def _option_text(value: Any) -> str:
    if is_dataclass(value):
        return f"({_options(value)})"
    if isinstance(value, Mapping):
        return ", ".join(f"{n} {value_text(v)}" for n, v in value.items())
    return value_text(value)


def pretty(name: str) -> str:
    """A figure of merit's name as an axis or a column says it.

    >>> pretty("significance"), pretty("roc_auc"), pretty("my_figure")
    ('significance S', 'ROC AUC', 'my figure')
    """
    known = {"significance": "significance S", "xi": "significance Ξ", "roc_auc": "ROC AUC"}
    known |= {"rejection": "background rejection", "acceptance": "signal acceptance"}
    return known.get(name, name.replace("_", " "))


def sentence(text: str) -> str:
    """With a capital at its beginning.

    >>> sentence("significance S by config")
    'Significance S by config'
    """
    return text[:1].upper() + text[1:]
