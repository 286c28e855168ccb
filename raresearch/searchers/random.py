"""Configs drawn at random, each once."""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import islice

import numpy as np

from raresearch.errors import SpecError
from raresearch.space import Space
from raresearch.types import Config, config_id, named_stream

# Draws that repeat an earlier config before the search looks for what is left: in a finite space by listing it; a
# continuous one is taken to be used up (its continuous axes may exist under a rare condition only, so it tries longer).
_TRIES_FINITE = 100
_TRIES_CONTINUOUS = 100_000


class RandomSearcher:
    """The first ``configs`` distinct draws from ``space`` (fewer where it has fewer points).

    The sequence of draws is fixed by ``seed`` alone and told configs are skipped in it. So the set of configs depends
    neither on interruptions nor on how many are evaluated at the same time, and raising ``configs`` goes on where the
    sequence stopped. (Seeding by the number told would give as many sets as there are orders of finishing; a searcher that
    learns has no choice, this one has.)

    Raises `SpecError` unless ``configs`` is a positive integer.
    """

    def __init__(self, space: Space, configs: int, seed: int) -> None:
        positive("random.configs", configs, "configs: 50")
        rng = np.random.default_rng(named_stream(seed, "searcher", "random"))
        self._sequence = islice(distinct(space, rng), configs)
        self._known: set[str] = set()

    def ask(self) -> Config | None:
        for config in self._sequence:
            if (key := config_id(config)) not in self._known:
                self._known.add(key)
                return config
        return None

    def tell(self, config: Config, score: float) -> None:
        self._known.add(config_id(config))


def positive(place: str, number: object, example: str) -> None:
    """Raises `SpecError` at ``place`` unless ``number`` is an integer from 1 up."""
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise SpecError(place, f"must be an integer from 1 up, not {number!r}", f"write e.g. {example}")


def distinct(space: Space, rng: np.random.Generator) -> Iterator[Config]:
    """Draws from ``space``, each config once, until the space is used up."""
    seen: set[str] = set()
    while (config := unseen(space, rng, seen)) is not None:
        seen.add(config_id(config))
        yield config


def unseen(space: Space, rng: np.random.Generator, seen: Set[str]) -> Config | None:
    """A draw whose id is not in ``seen``; None where the space has none left."""
    size = space.size()
    if size is not None and len(seen) >= size:
        return None
    for _ in range(_TRIES_CONTINUOUS if size is None else _TRIES_FINITE):
        config = space.sample(rng)
        if config_id(config) not in seen:
            return config
    if size is None:
        return None
    left = [config for config in space.grid() if config_id(config) not in seen]
    return left[int(rng.integers(len(left)))]
