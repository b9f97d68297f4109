"""A module that attends beside its own way to say where it looks; and how far what is heard is from that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from maskviz.api.runs.own import Own, OwnReady, own_ran, own_ready
from maskviz.api.watcher import NOBODY
from maskviz.core.arrays import AnyArray
from maskviz.core.run.heads import HeadMask
from maskviz.tracing.modules.axes import Said
from maskviz.tracing.modules.heard import Hearing
from maskviz.tracing.modules.run import ModuleRun, gated_output_of, main_of
from maskviz.tracing.run import head_shapes


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A module ready to be run.

    Attributes:
        module: In evaluation mode.
        inputs: As `maskviz.trace` takes them.
        weights: What it says itself: [row, head, query, key] of each attention in order; rows may be windows of rows.
        projections: Paths of the linear maps behind the heads, for each attention, parted by spaces; "" for none.
        said: What is said of axes.
    """

    module: torch.nn.Module
    inputs: Any
    weights: Callable[[], Sequence[Any]]
    projections: tuple[str, ...] = ()
    said: Said = field(default_factory=Said)


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of module.

    Attributes:
        library: Whose it is.
        name: What it is.
        truth: How it says where it looks, in words.
        build: What makes it.
    """

    library: str
    name: str
    truth: str
    build: Callable[[], Built]


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of a case.

    Attributes:
        library, name, truth: As of the case.
        heard: What was heard, such as "softmax".
        calls: How many attentions.
        heads: How many heads they have, such as "3" or "2, 4".
        apart: Largest difference from the truth; None where it failed.
        silenced: Largest difference of the outputs with one head silenced from a module in which the head's columns of
            the projection are zero; None where there is no such projection.
        failed: Why it failed, or "".
    """

    library: str
    name: str
    truth: str
    heard: str = ""
    calls: int = 0
    heads: str = ""
    apart: float | None = None
    silenced: float | None = None
    failed: str = ""


def measured(case: Case) -> Row:
    """Run a case; what it raises is what failed."""
    try:
        return _measured(case, case.build())
    except Exception as error:  # a library's or our own: the table says it
        return Row(case.library, case.name, case.truth, failed=f"{type(error).__name__}: {error}"[:300])


def _measured(case: Case, built: Built) -> Row:
    ready = own_ready(Own(built.module, built.inputs, said=built.said))
    run = own_ran(NOBODY, ready)
    calls = run.trace.calls
    return Row(
        case.library,
        case.name,
        case.truth,
        ", ".join(dict.fromkeys(_hows(ready))),
        len(calls),
        ", ".join(dict.fromkeys(str(call.heads) for call in calls)),
        _apart(run, built.weights()),
        _silenced(ready, run, built.projections),
    )


def _hows(ready: OwnReady) -> Iterator[str]:
    hearing = Hearing()
    ready.subject.heard(hearing)
    yield from (call.how for call in hearing.calls)


def _apart(run: ModuleRun, expected: Sequence[Any]) -> float:
    if len(expected) != len(run.trace.calls):
        raise ValueError(f"{len(run.trace.calls)} attentions were heard, the module says {len(expected)}")
    found = 0.0
    for call, own in zip(run.trace.calls, expected, strict=True):
        assert call.pattern is not None
        truth = _side_by_side(np.asarray(own.detach().float()), call.pattern.shape)
        found = max(found, float(np.abs(call.pattern - truth).max()))
    return found


def _side_by_side(own: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """Windows [row * window, head, query, key] as blocks on the diagonal of [row, head, all queries, all keys]."""
    if own.shape == shape:
        return own
    rows, heads, queries, keys = shape
    size, windows = own.shape[2], len(own) // rows
    if own.shape[1] != heads or windows * size != queries or windows * own.shape[3] != keys:
        raise ValueError(f"{shape} was heard, the module says {own.shape}")
    whole = np.zeros(shape, own.dtype)
    for number, window in enumerate(own):
        row, place = divmod(number, windows)
        whole[row, :, place * size : (place + 1) * size, place * own.shape[3] : (place + 1) * own.shape[3]] = window
    return whole


def _silenced(ready: OwnReady, run: ModuleRun, projections: Sequence[str]) -> float | None:
    """The last head of each attention silenced, beside a module whose projection does not read it."""
    found = None
    for call, paths in zip(run.trace.calls, projections, strict=False):
        gates = {stack: np.ones(shape, np.float32) for stack, shape in head_shapes(run.trace).items()}
        gates[call.stack.value][call.layer, call.heads - 1] = 0
        output = gated_output_of(run, HeadMask(gates))
        expected = main_of(_without_a_head(ready, paths.split(), call.heads), run.trace)
        assert output is not None and expected is not None and run.output is not None
        if not (run.output - expected).abs().max() > 1e-5:
            raise ValueError(f"nothing moves where {paths} does not read a head")
        found = max(found or 0.0, float((output - expected).abs().max()))
    return found


def _without_a_head(ready: OwnReady, paths: Sequence[str], heads: int) -> Any:
    """What a module puts out where the projections do not read the last of the heads."""
    subject: Any = ready.subject
    weights = [subject.module.get_submodule(path).weight for path in paths]
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            weight[:, -(weight.shape[1] // heads) :] = 0
    try:
        return subject.plain()
    finally:
        with torch.no_grad():
            for weight, kept in zip(weights, before, strict=True):
                weight.copy_(kept)


@contextmanager
def recorded(place: Any, name: str, of: Callable[..., Any]) -> Iterator[list[Any]]:
    """A list of what `of` makes of each call of a function, in order: of its result and its arguments."""
    before, found = getattr(place, name), []

    def recording(*positional: Any, **arguments: Any) -> Any:
        result = before(*positional, **arguments)
        found.append(of(result, *positional, **arguments))
        return result

    setattr(place, name, recording)
    try:
        yield found
    finally:
        setattr(place, name, before)


def inputs_of(parts: Sequence[torch.nn.Module], run: Callable[[], Any]) -> list[Any]:
    """The first input of each part, each time it runs."""
    found: list[Any] = []
    handles = [part.register_forward_pre_hook(lambda _, given: found.append(given[0])) for part in parts]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found


def weights_of_modules(module: torch.nn.Module, run: Callable[[], Any]) -> list[Any]:
    """What every nn.MultiheadAttention of a module returns when it is asked for the weights of each head."""
    found: list[Any] = []
    handles = []
    for part in module.modules():
        if isinstance(part, torch.nn.MultiheadAttention):
            handles.append(
                part.register_forward_pre_hook(
                    lambda _, given, named: (given, {**named, "need_weights": True, "average_attn_weights": False}),
                    with_kwargs=True,
                )
            )
            handles.append(part.register_forward_hook(lambda _, given, output: found.append(output[1])))
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found
