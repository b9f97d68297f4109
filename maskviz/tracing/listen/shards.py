"""Heads dealt out over processes: what transformers' tensor parallelism leaves of an attention module in each.

A rank runs the query heads (and the key heads they read) of its turn: of 8 heads on 2 ranks, the second has 4 to 7.
Outside of the attention modules the hidden states are whole on every rank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from maskviz.tracing.seam.parallel import processes_of

_Heads = TypeVar("_Heads", np.ndarray[Any, Any], torch.Tensor)


@dataclass(frozen=True, slots=True)
class Shards:
    """Which modules hold some of their heads only.

    Attributes:
        paths: The modules whose heads are dealt out.
        rank, world: Number of this process and how many there are; each has as many heads.
    """

    paths: frozenset[str] = frozenset()
    rank: int = 0
    world: int = 1

    def heads(self, path: str, whole: int) -> int:
        """How many of a module's heads run here."""
        return whole // self.world if path in self.paths else whole

    def own(self, path: str, whole: _Heads) -> _Heads:
        """The part [..., own head] that runs here of something of all heads of a module, [..., head]."""
        if path not in self.paths:
            return whole
        count = whole.shape[-1] // self.world
        return whole[..., self.rank * count : (self.rank + 1) * count]

    def every(self, own: Any) -> list[Any]:
        """What each process holds, in the order of the ranks; each has to call this."""
        from torch import distributed

        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, own)
        return found

    def whole(self, path: str, own: np.ndarray[Any, Any], axis: int) -> Any:
        """An array of all heads of a module from one of the heads that run here; each process has to call this."""
        return np.concatenate(self.every(own), axis=axis) if path in self.paths else own

    def least(self, own: int) -> int:
        """The least number any process has: what depends on free memory must not differ between those that run one
        model together."""
        return min(self.every(own)) if self.paths else own


def shards_of(model: torch.nn.Module) -> Shards:
    """Read off a model's plan which modules hold some of their heads only: those that hand what their heads put out,
    as it is, to a projection that takes each process's part ("rowwise")."""
    if processes_of(model) == 1:
        return Shards()
    from torch import distributed

    plan = getattr(model, "tp_plan", None) or {}
    taking = [path for path, _ in model.named_modules() if plan.get(_in_plan(path)) == "rowwise"]
    paths = frozenset(above for path in taking for above in _above(path))
    return Shards(paths, distributed.get_rank(), distributed.get_world_size())


def _in_plan(path: str) -> str:
    """A path as plans write it: "layers.3.self_attn" is "layers.*.self_attn"."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", path)


def _above(path: str) -> list[str]:
    """The two modules around a layer: a projection may lie in a part of the attention module of its own."""
    parent = path.rpartition(".")[0]
    return [parent, parent.rpartition(".")[0]]
