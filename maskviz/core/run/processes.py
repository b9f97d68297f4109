"""What one of several processes does of their common work."""

from __future__ import annotations

import os
from dataclasses import dataclass

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Share:
    """This process among those that torchrun started; alone by default.

    Attributes:
        rank: Its number, from 0.
        world: How many there are.
        splits: Whether the texts are dealt out; where all processes hold parts of one model, each runs every text.
    """

    rank: int = 0
    world: int = 1
    splits: bool = True

    @classmethod
    def of_environment(cls, *, splits: bool = True) -> Share:
        """The share that torchrun's environment variables name."""
        if not all(os.environ.get(name, "") for name in _NEEDED):
            return cls(splits=splits)
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), splits)

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints results and writes files."""
        return self.rank == 0

    def numbers(self, count: int) -> range:
        """Numbers of the texts, of `count`, that this process examines; none where there are too few."""
        return range(self.rank, count, self.world) if self.splits else range(count)
