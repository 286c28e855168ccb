"""How packs meet machines.

Belongs here: executors (`local`, `ray_tune`) and what a worker does with a pack. Does not belong here: what to train
(`study`), the loop (`training`). An executor pulls packs from a `Source` and reports each pack's fate to it, nothing more.
"""

from raresearch.execution.base import Executor, Source, Waiting

__all__ = ["Executor", "Source", "Waiting"]
