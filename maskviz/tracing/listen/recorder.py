"""What a run leaves behind, of whole heads and of those that lie on several ranks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import get_ident
from typing import Any, TypeVar

import numpy as np
import torch

from maskviz.core.arrays import AnyArray, BoolArray, FloatArray
from maskviz.core.rules.algebra import Rule
from maskviz.core.run.trace import Delivery
from maskviz.tracing.calling import to_floats, visible_cells
from maskviz.tracing.seam.implementations import processes_of

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


# Part of the text, path of a module, and its turn in that part.
RawPlace = tuple[int, str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A mask that transformers built, and the rule it was built from.

    Attributes:
        tensor: The mask, as the model received it.
        rule: What it was built from.
        query_offset, key_offset: Positions of its first query and its first key: of a cache that has dropped tokens,
            the first key is not the first token.
    """

    tensor: torch.Tensor
    rule: Rule
    query_offset: int
    key_offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """One attention call as the model made it.

    Attributes:
        module: Path of the module that ran it.
        heads, key_heads: Query and key heads.
        pattern: float32 [batch, head, query, key], before any gate; None where there are no weights.
        visible: bool [batch, 1 or head, query, key], True = may attend.
        source: The mask tensor the call received, None where it was read off the scores.
        bias: float32 added to the scores besides the mask, or None.
        delivery: How the mask came.
        part: Which forward pass of the model it was made in, from 0.
        turn: How often the module had attended before in that pass.
        query_offset: Position of the first query where it is known, else None.
    """

    module: str
    heads: int
    key_heads: int
    pattern: FloatArray | None
    visible: BoolArray
    source: torch.Tensor | None
    bias: FloatArray | None
    delivery: Delivery
    part: int = 0
    turn: int = 0
    query_offset: int | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What the scores of an attention of this run may look like; other softmaxes are routers, windows or blocks.

    Attributes:
        rows: Rows of the batch.
        lengths: Tokens in a row, of either side of the model.
        heads: Query heads the config names, empty where it names none; only asked where batch and heads are one axis.
    """

    rows: int
    lengths: frozenset[int]
    heads: frozenset[int]

    def is_within_tokens(self, heads: int, queries: int) -> bool:
        """Whether an attention runs within each token, over what its layers made of it: tokens stand where heads do
        (the residuals of Inkling 2)."""
        return heads in self.lengths and heads not in self.heads and queries not in self.lengths

    def split(self, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
        """[batch, head, query, key] of scores in 4 dimensions, or in 3 as [batch * head, query, key]; else None."""
        if len(shape) not in (3, 4) or not {*shape[-2:]} <= self.lengths:
            return None
        if len(shape) == 3:
            heads = shape[0] // self.rows
            if heads < 2 or shape[0] % self.rows or (self.heads and heads not in self.heads):
                return None
            shape = (self.rows, heads, *shape[1:])
        if shape[0] != self.rows:
            return None
        return shape[0], shape[1], shape[2], shape[3]


@dataclass(slots=True)
class Recorder:
    """What a tapped run leaves behind, and the gates it is to apply.

    Attributes:
        expected: What scores of this run's attention may look like.
        gates: float32 [head] by module path and turn; a call that is not in it has none.
        own_masks: Visible cells bool [batch, 1 or head, query, key] of calls whose mask is another under the
            implementation the model runs; they take the place of the mask a call is handed.
        heard: Masks transformers built, in order.
        calls: Attention calls, in order.
        module_paths: Stack of the modules running now, innermost last.
        part: Which forward pass of the model runs now, from 0.
        odd: Scores and weights of softmaxes over other axes than query x key, since an attention module was entered;
            weights are None where they are written as an exponential of their own.
        weightless: Whether the model has no weights, so that scores say where it may look and nothing else.
        paused: Whether the taps look away, inside code they called themselves.
        towers: Paths of the parts that read images or sound and no tokens; their attention is not recorded.
        shards: Modules that run some of their heads in this process; their calls are kept with all heads.
        thread: The thread that is listened to; the same model may run in others meanwhile.
    """

    expected: Expected
    gates: Mapping[tuple[str, int], FloatArray] = field(default_factory=dict)
    own_masks: Mapping[RawPlace, BoolArray] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    calls: list[Captured] = field(default_factory=list)
    module_paths: list[str] = field(default_factory=list)
    part: int = -1
    odd: list[tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=list)
    weightless: bool = False
    paused: bool = False
    towers: tuple[str, ...] = ()
    shards: Shards = field(default_factory=Shards)
    thread: int = field(default_factory=get_ident)
    _turns: dict[str, int] = field(default_factory=dict)
    _cells: dict[tuple[Any, ...], tuple[torch.Tensor, BoolArray]] = field(default_factory=dict)
    _biases: dict[int, tuple[torch.Tensor, FloatArray]] = field(default_factory=dict)

    @property
    def here(self) -> bool:
        """Whether the thread that is listened to runs now."""
        return get_ident() == self.thread

    @property
    def deaf(self) -> bool:
        """Whether what runs now is not to be heard."""
        return self.paused or not self.here

    def enter(self, path: str) -> None:
        """A module starts to run; the model itself (path "") starts a part."""
        if not path:
            self.part += 1
            self._turns.clear()
        self.module_paths.append(path)

    @property
    def attending(self) -> str:
        """Path of the module that attends now: a softmax that is a module of its own is none."""
        last = self.module_paths[-1]
        return last.removesuffix(".softmax") if last.endswith(".softmax") else last

    def gate(self, path: str) -> FloatArray | None:
        """The gates of the heads that run here in the call that a module makes next."""
        gate = self.gates.get((path, self._turns.get(path, 0)))
        return None if gate is None else self.shards.own(path, gate)

    def own_mask(self, path: str) -> BoolArray | None:
        """The cells that take the place of the mask of the call a module makes next, or None."""
        return self.own_masks.get((max(0, self.part), path, self._turns.get(path, 0)))

    def heard_from(self, path: str) -> bool:
        """Whether a module has attended in this part of the text."""
        return self._turns.get(path, 0) > 0

    def record(self, call: Captured) -> None:
        """Keep a call, with the part and the turn it was made in."""
        turn = self._turns.get(call.module, 0)
        self._turns[call.module] = turn + 1
        self.calls.append(replace(_whole(call, self.shards), part=max(0, self.part), turn=turn))

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """Hear nothing while the block runs."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    @property
    def away(self) -> bool:
        """Whether the module that runs now belongs to a part that reads no tokens."""
        path = self.module_paths[-1] if self.module_paths else ""
        return any(path == tower or path.startswith(f"{tower}.") for tower in self.towers)

    def cells_of(self, mask: torch.Tensor | None, shape: tuple[int, int, int]) -> BoolArray:
        """Visible cells [batch, 1 or head, query, key] of a mask tensor; one array per tensor, however many calls."""
        batch, queries, keys = shape
        if mask is None:
            return np.ones((batch, 1, queries, keys), dtype=np.bool_)
        key = (id(mask), shape)
        if key not in self._cells:  # the tensor is kept beside its cells, so that its id stays its own
            self._cells[key] = (mask, broadcast_cells(visible_cells(mask), shape))
        return self._cells[key][1]

    def bias_of(self, bias: torch.Tensor | None) -> FloatArray | None:
        """A position bias as an array, one per tensor."""
        if bias is None:
            return None
        if id(bias) not in self._biases:
            self._biases[id(bias)] = (bias, to_floats(bias))
        return self._biases[id(bias)][1]


def _whole(call: Captured, shards: Shards) -> Captured:
    """A call with the heads of every process."""
    if call.module not in shards.paths:
        return call
    patterns, visible, biases = zip(*shards.every((call.pattern, call.visible, call.bias)), strict=True)
    return replace(
        call,
        heads=call.heads * shards.world,
        key_heads=call.key_heads * shards.world,
        pattern=None if call.pattern is None else np.concatenate(patterns, axis=1),
        visible=_of_all_heads(visible, call.visible, call.heads),
        bias=None if call.bias is None else _of_all_heads(biases, call.bias, call.heads),
    )


def _of_all_heads(parts: Sequence[AnyArray], own: AnyArray, heads: int) -> Any:
    """Arrays [batch, 1 or head, query, key] of every process's heads as one; `own` where it is the same for all."""
    if all(part.shape[1] == 1 and np.array_equal(part, own) for part in parts):
        return own
    apart = [np.broadcast_to(part, (part.shape[0], heads, *part.shape[2:])) for part in parts]
    return np.concatenate(apart, axis=1)


def broadcast_cells(cells: BoolArray, shape: tuple[int, int, int]) -> BoolArray:
    """Broadcast cells to [batch, 1 or head, query, key] for (batch, query, key); heads that all agree become one."""
    batch, queries, keys = shape
    while cells.ndim < 4:
        cells = cells[None] if cells.ndim == 2 else cells[:, None]
    cells = cells[..., :keys]  # static caches come with masks longer than the keys, cut by the attention itself
    cells = np.broadcast_to(cells, (batch, cells.shape[1], queries, keys))
    return cells[:, :1] if (cells == cells[:, :1]).all() else cells


def gated(output: torch.Tensor, gate: FloatArray | None) -> torch.Tensor:
    """Multiply gates [head] onto the output of each head [batch, query, head, width], before it is projected."""
    if gate is None:
        return output
    factors = torch.as_tensor(np.array(gate), dtype=output.dtype, device=output.device)
    if output.ndim == 3:  # heads already joined: [batch, query, heads * width]
        batch, queries, width = output.shape
        return (output.view(batch, queries, len(gate), -1) * factors[:, None]).view(batch, queries, width)
    return output * factors[:, None]
