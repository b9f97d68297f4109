"""The tap for attention whose scores are not query x key: in bands, blocks or buckets, or on axes of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.run.masks import Delivery
from maskviz.tracing.doors import to_floats, visible_cells
from maskviz.tracing.listen.interface import gated
from maskviz.tracing.listen.layout import Run, heads_of, laid_out, own_projection, projection_around, value_layers
from maskviz.tracing.listen.recorder import Captured, Recorder, broadcast_cells
from maskviz.tracing.randomness import RandomState

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
        self._run: Run | None = None
        self._run_around: Run | None = None
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
            self._run = Run(module, module, self._projection, positional, arguments, RandomState())
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
            self._run_around = Run(self._module, module, self._around, positional, arguments, RandomState())

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


def _on_own_axes(run: Run, odd: list[Odd]) -> Found | None:
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


def _on_tokens(run: Run, recorder: Recorder) -> Found | None:
    start, given = _filled(run)
    length = max((one for one in recorder.expected.lengths if one <= given), default=given)
    found = laid_out(run, slice(start, start + length), check=not recorder.weightless)
    if found is None:
        return None
    pattern, visible = found
    used = np.flatnonzero(visible.any(axis=(0, 1, 2)))
    kept = max(length, int(used[-1]) + 1 if len(used) else 0)
    return pattern[..., :kept], visible[..., :kept], Delivery.WEIGHTS


def _filled(run: Run) -> tuple[int, int]:
    """Rows of zeros before the text in what a module was called with, and all its rows."""
    if run.tokens is None:
        return 0, 0
    used = (run.tokens != 0).any(dim=-1).any(dim=0)
    return int(used.int().argmax()), used.shape[0]
