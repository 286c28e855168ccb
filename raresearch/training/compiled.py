"""Networks compiled by `torch.compile` (`train.compile: true`).

Compiled code sums in another order than torch's own kernels and differs from them in the last bits; so the option is part of the
config (whose trainings then have seeds of their own, too). Each shape of a batch is compiled for itself, and anew for each cell:
code for any shape, or what an earlier cell of the worker has left, would make a result depend on the order of things.

Measured on a CPU, one thread, for EfficientNet-B0 with dropout (PandaX-III's, 64 x 64, torch 2.15), a step on 32 events: 0.26 s
instead of 0.47 to 0.51, scoring 0.05 instead of 0.08. Compiling the training's shape took 173 s (other work on the second core),
from torch's cache on disk 5 s, each further shape (the last batch, the last lots that are scored) as much again or less. So it
pays from some 800 steps on. Not tried on GPUs.
"""

from __future__ import annotations

import os
import shutil

import torch
from torch import nn

from raresearch.errors import SpecError
from raresearch.types import Config


def compiles(config: Config) -> bool:
    """Whether ``config`` asks for it."""
    return bool(config.get("train.compile"))


def compile_network(network: nn.Module, device: torch.device) -> None:
    """Compile ``network`` in place, at its first call; its parameters keep their names.

    Raises `SpecError` where the machine has no C++ compiler, which torch asks for also for a GPU's code.
    """
    asked = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([asked] if asked else ["g++", "clang++", "c++"])):
        rule = f"needs a C++ compiler, and {asked or 'g++ or clang++'} is not on the PATH of this worker ({device.type})"
        raise SpecError("train.compile", rule, "install one (apt install g++), name it in CXX, or leave train.compile out")
    # As many compilers at once as the worker has threads: a pool of one for each core would disturb the workers beside it.
    from torch._inductor import config as inductor

    inductor.compile_threads = torch.get_num_threads()
    torch.compiler.reset()
    network.compile(dynamic=False)
