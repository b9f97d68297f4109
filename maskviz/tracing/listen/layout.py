"""Attention that is not query x key is laid out, and when: bands, blocks and chunks of scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.hooks import RemovableHandle

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.run.trace import Delivery
from maskviz.tracing.calling import RandomState, same_randomness, to_array, to_floats, visible_cells
from maskviz.tracing.listen.recorder import Captured, Recorder, broadcast_cells, gated

_VALUES = ("value", "value_global", "v_proj", "v", "value_proj", "v_lin", "v_head", "project_v", "linear_v")
_QUERIES = ("query", "query_global", "q_proj", "q", "query_proj", "q_lin", "q_head", "project_q", "linear_q")
_PROJECTIONS = ("out_proj", "o_proj", "o", "attention_out", "post_proj", "linear_out")
_AROUND = ("output.dense", "output")
_HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "num_attn_heads")
# Largest difference, in shares of the context's size, of weights times values from what the module puts out.
_LINEAR = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class LayoutRun:
    """One execution of an attention module, as it can be repeated.

    Attributes:
        attention: The module that makes queries, keys and values.
        module: The module that is called: the attention, or the one around it that cuts its tokens into chunks.
        projection: The layer that takes the joined heads in that module; None where they are what it returns.
        positional, arguments: What it was called with.
        random: Where the random numbers were before it.
    """

    attention: torch.nn.Module
    module: torch.nn.Module
    projection: torch.nn.Module | None
    positional: tuple[Any, ...]
    arguments: dict[str, Any]
    random: RandomState

    @property
    def tokens(self) -> torch.Tensor | None:
        """Its hidden states [batch, token, width], the first tensor of that shape it was called with."""
        given = (*self.positional, *self.arguments.values())
        return next((one for one in given if isinstance(one, torch.Tensor) and one.ndim == 3), None)

    def repeat(self, tokens: torch.Tensor | None = None) -> Any:
        """LayoutRun the module again, with other hidden states where some are given."""
        own = self.tokens
        positional = tuple(tokens if one is own and tokens is not None else one for one in self.positional)
        arguments = {name: tokens if one is own and tokens is not None else one for name, one in self.arguments.items()}
        with same_randomness(self.random):
            return self.module(*positional, **arguments)


def value_layers(module: torch.nn.Module) -> list[torch.nn.Linear]:
    """The layers that make a module's values; none where it is no attention that can be laid out."""
    return _linear(module, _VALUES)


def own_projection(module: torch.nn.Module) -> torch.nn.Linear | None:
    """The layer of an attention module that takes its joined heads."""
    return next(iter(_linear(module, _PROJECTIONS)), None)


def projection_around(parent: torch.nn.Module) -> torch.nn.Linear | None:
    """The layer that takes the joined heads of an attention module, in the module around it."""
    return next(iter(_linear(parent, _AROUND)), None)


def _linear(module: torch.nn.Module, names: Sequence[str]) -> list[torch.nn.Linear]:
    inside = dict(module.named_modules())
    return [layer for name in names if isinstance(layer := inside.get(name), torch.nn.Linear)]


def heads_of(module: torch.nn.Module) -> int | None:
    """Query heads of an attention module, by its own word or its config's."""
    holders = (module, getattr(module, "config", None))
    found = (getattr(holder, name, None) for holder in holders for name in _HEADS)
    return next((heads for heads in found if isinstance(heads, int)), None)


def laid_out(run: LayoutRun, text: slice, *, check: bool) -> tuple[FloatArray, BoolArray] | None:
    """The weights of one execution, float32 [batch, head, query, key], and where they may be above zero.

    Keys are those of the text, in their order; keys that are no tokens (the averages of blocks that LongT5 adds,
    Pegasus-X's global tokens) come after them. A weight may be too small for its type: what is visible is
    where weights lie when all queries are zero, so that every score is that of a mask or a bias.

    Args:
        run: The execution.
        text: Which of the tokens it was called with are the text's; the others fill blocks up.
        check: Whether weights times values must equal what the module puts out.

    Returns:
        The weights and the visible cells (True = may attend), or None where the module is not linear in values of a
        known layout.
    """
    heads, tokens = heads_of(run.attention), run.tokens
    if heads is None or tokens is None:
        return None
    keys = _keys(run, tokens)
    if keys is None:
        return None
    given, count = tokens.shape[1], max(int(places.max()) for places in keys) + 1
    asked = torch.tensor([*range(text.start, text.stop), *range(given, count)])
    pattern = _weights(run, keys, asked, heads)
    if pattern is None or (check and not _explains(run, pattern, keys, asked)):
        return None
    queries = _linear(run.attention, _QUERIES)
    flat = None
    if queries:
        with _zeros_given(queries):
            flat = _weights(run, keys, asked, heads)
    seen = pattern > 0 if flat is None else (flat > 0) | (pattern > 0)
    cells: BoolArray = to_array(seen)
    return to_floats(pattern)[:, :, text], cells[:, :, text]


def _weights(run: LayoutRun, keys: Sequence[torch.Tensor], asked: torch.Tensor, heads: int) -> torch.Tensor | None:
    """Weights [batch, head, query, key] of the keys asked for, read off unit values, as many at a time as a head is
    wide."""
    width = value_layers(run.attention)[0].out_features // heads
    columns: list[torch.Tensor] = []
    for some in torch.split(asked, width):
        context = _context(run, [_units(places, some, heads, width) for places in keys])
        if context is None:
            return None
        columns.append(context.reshape(*context.shape[:2], heads, width)[..., : len(some)])
    return torch.cat(columns, dim=-1).transpose(1, 2)


def _keys(run: LayoutRun, tokens: torch.Tensor) -> list[torch.Tensor] | None:
    """Key of every value row, int64 in the shape of each value layer's rows, in the order the layers run."""
    generator = torch.Generator().manual_seed(0)
    batch, length, width = tokens.shape
    names = torch.randn(length, width, generator=generator).to(tokens)
    rows: list[torch.Tensor] = []
    with _inputs_heard(value_layers(run.attention), rows):
        run.repeat(names.expand(batch, length, width).contiguous())
    found, extra = [], length
    for row in rows:
        same = (row[..., None, : min(width, 8)] == names[:, : min(width, 8)]).all(-1)
        places = torch.where(same.any(-1), same.to(torch.int8).argmax(-1), -1)
        own = row.abs().sum(-1) > 0
        unknown = (places < 0) & own
        if unknown.any():  # no token's row: one more key for each place, the same in every row of the batch
            count = unknown.shape[-1]
            places = torch.where(unknown, extra + torch.arange(count), places)
            extra += count
        found.append(places)
    return found if any((places >= 0).any() for places in found) else None


def _units(places: torch.Tensor, some: torch.Tensor, heads: int, width: int) -> torch.Tensor:
    """Values [row..., head * width]: for the d-th of some keys the unit vector d, zero for all others."""
    unit = torch.nn.functional.pad((places[..., None] == some.to(places.device)).to(torch.int8), (0, width - len(some)))
    return unit.repeat(*[1] * (unit.ndim - 1), heads)


def _context(run: LayoutRun, values: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """What the module's heads put out [batch, query, head * width] when its value layers give these values."""
    contexts: list[torch.Tensor] = []
    heard = [] if run.projection is None else [run.projection]
    with _values_given(value_layers(run.attention), values), _inputs_heard(heard, contexts):
        returned = run.repeat()
    if run.projection is None:
        first = returned if isinstance(returned, torch.Tensor) else returned[0]
        contexts = [first] if isinstance(first, torch.Tensor) else []
    queries = run.tokens.shape[1] if run.tokens is not None else 0
    fitting = [one for one in contexts if one.ndim == 3 and one.shape[1] == queries]
    return fitting[0] if fitting else None


def _explains(run: LayoutRun, pattern: torch.Tensor, keys: Sequence[torch.Tensor], asked: torch.Tensor) -> bool:
    """Whether weights times random values of the keys asked for are what the module makes of those values."""
    generator = torch.Generator().manual_seed(1)
    heads, width = pattern.shape[1], value_layers(run.attention)[0].out_features // pattern.shape[1]
    table = torch.zeros(max(int(places.max()) for places in keys) + 2, heads * width)  # the last row: rows of no key
    table[asked] = torch.randn(len(asked), heads * width, generator=generator)
    table = table.to(pattern)
    context = _context(run, [table[places] for places in keys])
    if context is None:
        return False
    values = table[asked].view(len(asked), heads, width).transpose(0, 1)
    mixed = torch.matmul(pattern, values).transpose(1, 2).reshape(context.shape)
    scale = max(1.0, float(context.abs().max()))
    return bool((mixed - context).abs().max() <= _LINEAR * scale)


def _inputs_heard(layers: Sequence[torch.nn.Module], heard: list[torch.Tensor]) -> AbstractContextManager[None]:
    """Keep what layers are given."""
    return _hooked([layer.register_forward_pre_hook(lambda _, given: heard.append(given[0])) for layer in layers])


def _values_given(layers: Sequence[torch.nn.Module], values: Sequence[torch.Tensor]) -> AbstractContextManager[None]:
    """Let value layers put out given values, one after the other."""
    waiting = iter(values)

    def give(_layer: torch.nn.Module, _given: Any, made: torch.Tensor) -> torch.Tensor:
        return next(waiting).to(made)

    return _hooked([layer.register_forward_hook(give) for layer in layers])


def _zeros_given(layers: Sequence[torch.nn.Module]) -> AbstractContextManager[None]:
    """Let layers put out zeros."""
    return _hooked([layer.register_forward_hook(lambda _, __, made: torch.zeros_like(made)) for layer in layers])


@contextmanager
def _hooked(handles: Sequence[RemovableHandle]) -> Iterator[None]:
    """Take hooks away after the block."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


Odd = tuple[torch.Tensor, torch.Tensor | None]
Found = tuple[FloatArray, BoolArray, Delivery]


@contextmanager
def blocks_heard(model: torch.nn.Module, recorder: Recorder) -> Iterator[None]:
    """Hear the attention modules that ran a softmax, none of them over query x key."""
    handles = []
    modules = dict(model.named_modules())
    try:
        for path, module in modules.items():
            if value_layers(module) and heads_of(module):
                handles += _Watch(path, module, modules.get(path.rpartition(".")[0]), recorder).handles()
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Watch:
    """Follows one attention module, and the module around it that holds its projection, through their executions."""

    def __init__(self, path: str, module: torch.nn.Module, parent: torch.nn.Module | None, recorder: Recorder) -> None:
        self._path = path
        self._recorder = recorder
        self._module = module
        self._projection = own_projection(module)
        around = None if self._projection is not None or parent is None else projection_around(parent)
        self._parent = None if around is None else parent
        self._around = around
        self._run: LayoutRun | None = None
        self._run_around: LayoutRun | None = None
        self._found: list[Found | None] = []
        self._gate: FloatArray | None = None

    def handles(self) -> list[Any]:
        """The hooks that follow it, in place."""
        made = [
            self._module.register_forward_pre_hook(self._entering, with_kwargs=True),
            self._module.register_forward_hook(self._leaving),
        ]
        if self._parent is not None:
            made.append(self._parent.register_forward_pre_hook(self._entering_around, with_kwargs=True))
            made.append(self._parent.register_forward_hook(self._leaving_around))
        projection = self._projection or self._around
        if projection is not None:
            made.append(projection.register_forward_pre_hook(self._projecting))
        return made

    def _entering(self, module: torch.nn.Module, positional: tuple[Any, ...], arguments: dict[str, Any]) -> None:
        if not self._recorder.deaf:
            self._run = LayoutRun(module, module, self._projection, positional, arguments, RandomState())
            self._gate = self._recorder.gate(self._path)
            self._recorder.odd.clear()

    def _leaving(self, *_: Any) -> None:
        if self._recorder.deaf or self._run is None:
            return
        if self._recorder.odd and not self._recorder.heard_from(self._path):
            odd = list(self._recorder.odd)
            with self._recorder.looking_away():  # at once: the module around it may change what a cache holds
                self._found.append(_on_own_axes(self._run, odd) or _on_tokens(self._run, self._recorder))
        self._recorder.odd.clear()
        self._run = None
        if self._parent is None:
            self._keep()

    def _entering_around(self, module: torch.nn.Module, positional: tuple[Any, ...], arguments: dict[str, Any]) -> None:
        if not self._recorder.deaf:
            self._run_around = LayoutRun(self._module, module, self._around, positional, arguments, RandomState())

    def _leaving_around(self, *_: Any) -> None:
        if not self._recorder.deaf:
            self._keep()
            self._run_around = None

    def _projecting(self, _: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Gate the joined heads on their way into the projection, where no softmax of theirs was gated."""
        if self._recorder.deaf or self._gate is None or self._recorder.heard_from(self._path):
            return None
        return (gated(given[0], self._gate), *given[1:])

    def _keep(self) -> None:
        """Record what ran since the last time, as one call."""
        several, self._found = self._found, []
        found = several[0] if several else None
        if len(several) > 1:  # called once for each chunk: only the module around it has seen all tokens
            with self._recorder.looking_away():
                found = _on_tokens(self._run_around, self._recorder) if self._run_around is not None else None
        if found is None:
            return
        pattern, visible, delivery = found
        batch, heads, queries, keys = pattern.shape
        self._recorder.record(
            Captured(
                module=self._path,
                heads=heads,
                key_heads=heads,
                pattern=None if self._recorder.weightless else pattern,
                visible=broadcast_cells(visible, (batch, queries, keys)),
                source=None,
                bias=None,
                delivery=delivery,
            )
        )


def _on_own_axes(run: LayoutRun, odd: list[Odd]) -> Found | None:
    """A single softmax over [batch, head, query, key] with as many queries as the module was given: pooled tokens, or
    tokens behind a prompt of the model's own."""
    tokens, heads = run.tokens, heads_of(run.attention)
    if len(odd) != 1 or tokens is None:
        return None
    scores, result = odd[0]
    if result is None or scores.ndim != 4 or scores.shape[:3] != (tokens.shape[0], heads, tokens.shape[1]):
        return None
    sources = {one.shape[1] for one in (*run.positional, *run.arguments.values()) if _is_hidden(one)}
    if scores.shape[3] not in sources:
        return None
    return to_floats(result), visible_cells(scores), Delivery.ADDITIVE


def _is_hidden(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 3


def _on_tokens(run: LayoutRun, recorder: Recorder) -> Found | None:
    start, given = _filled(run)
    length = max((one for one in recorder.expected.lengths if one <= given), default=given)
    found = laid_out(run, slice(start, start + length), check=not recorder.weightless)
    if found is None:
        return None
    pattern, visible = found
    used = np.flatnonzero(visible.any(axis=(0, 1, 2)))
    kept = max(length, int(used[-1]) + 1 if len(used) else 0)
    return pattern[..., :kept], visible[..., :kept], Delivery.WEIGHTS


def _filled(run: LayoutRun) -> tuple[int, int]:
    """Rows of zeros before the text in what a module was called with, and all its rows."""
    if run.tokens is None:
        return 0, 0
    used = (run.tokens != 0).any(dim=-1).any(dim=0)
    return int(used.int().argmax()), used.shape[0]
