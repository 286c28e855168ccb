"""What a searcher is."""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

from raresearch.types import Config

#: higher is better; a pair where a study has two objectives and the searcher says that it takes them
Score: TypeAlias = float | tuple[float, ...]


@runtime_checkable
class Searcher(Protocol):
    """Configs out, scores in. Called from one thread of one process (the study's), in any interleaving.

    Obligations, held by `raresearch.testing.searcher_contract.SearcherContract`:

    - `ask` proposes a point of the space (without fixed values), or None: nothing more, now or later.
    - On a finite space no config is proposed that was told or is pending (asked and not told yet), and after as many
      proposals as the space has points, `ask` gives None. A score that is not finite tells that a config has failed; it
      is not proposed again.
    - `tell` may come before the first `ask`: a resumed study tells all that is done, in an order of its own (the store keeps
      none), to a fresh searcher, and then asks on. What was pending at the interruption may be proposed again. With one
      config at a time, the configs of an interrupted study are those of an uninterrupted one.
    - A config told again has its new score.
    - Nothing random is left unseeded. A searcher whose draws depend on scores makes its seed from (study seed, number
      told), or a resumed one would propose its start-up points again.
    - The study is the owner of both arguments of `tell`; a searcher keeps copies.

    The constructor receives ``space``, ``seed`` where it has such a parameter, and the options of the YAML by name.
    """

    def ask(self) -> Config | None:
        """The next config to evaluate, pending from now on; None where there is nothing more to propose."""
        ...

    def tell(self, config: Config, score: float) -> None:
        """``config`` has ``score``; higher is better; not finite: it has failed."""
        ...


@runtime_checkable
class Several(Protocol):
    """A searcher that takes ``objectives`` scores of a config at once: the study's, in the order of its YAML. It has failed
    where one of them is not finite. The constructor receives ``objectives`` where it has such a parameter."""

    objectives: int

    def tell(self, config: Config, score: Score) -> None:
        """``config`` has ``score``: a number for one objective, else a tuple."""
        ...


@runtime_checkable
class Expecting(Protocol):
    """A searcher that can hear of a config that it has not proposed itself: one that an earlier run left half done.

    It counts as pending from then on: not proposed again, counted among the study's configs, and lied about like any other.
    """

    def expect(self, config: Config) -> None:
        """``config`` is pending; its score will be told. Comes before the first `ask`."""
        ...
