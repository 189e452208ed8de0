"""Names for a purpose, such as `best`: which network they stand for on this machine.

What a name stands for depends on what the machine has, and not on what is free or installed at the moment: `models pull
best` fetches what `--model best` then uses.
"""

from __future__ import annotations

from collections.abc import Mapping

from mattebox.models import memory, runtimes
from mattebox.models.catalogue import CATALOGUE, Choice, Network, Row, members, network
from mattebox.models.memory import Machine


def machine(device: str) -> Machine:
    """The part of this machine that networks run on for a `device`, as in `ModelOptions`."""
    if runtimes.may_use_cuda(device):
        on_gpu = memory.gpu_total()
        if on_gpu is not None:
            return Machine(on_gpu, gpu=True)
    return Machine(memory.total())


def resolve(row: Row, here: Machine, catalogue: Mapping[str, Row] = CATALOGUE) -> Network:
    """The network that a row stands for: the first candidate of a choice that the machine holds, or the last one.

    Any other row stands for itself.
    """
    if not isinstance(row, Choice):
        return row
    *_, last = candidates = [network(name, catalogue) for name in row.candidates]
    fitting = (each for each in candidates if all(here.holds(member) for member in members(each, catalogue)))
    return next(fitting, last)


def explain(row: Choice, here: Machine, catalogue: Mapping[str, Row] = CATALOGUE) -> str:
    """One sentence that says which network a choice stands for, and on what."""
    return f"{row.name} is {resolve(row, here, catalogue).name} here: {here}."
