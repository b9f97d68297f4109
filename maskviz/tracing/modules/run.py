"""One run of a module becomes a Trace: plainly, then listened to; and again with gates on its heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch

from maskviz.core.arrays import FloatArray
from maskviz.core.errors import UsageError
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import Batch, Outputs, Trace
from maskviz.core.words import Stack
from maskviz.tracing.calling import kept_outputs, largest_difference
from maskviz.tracing.meaning.evidence import doubts, drifted
from maskviz.tracing.modules.heard import HandedMask, Hearing
from maskviz.tracing.modules.reading import Known, trace_of


class Subject(Protocol):
    """Something that can be run, and listened to while it runs; it is afterwards as it was."""

    def plain(self) -> Any:
        """What it returns by itself."""

    def heard(self, hearing: Hearing) -> Any:
        """What it returns while a hearing is filled and its gates are in force."""


@dataclass(frozen=True, slots=True, eq=False)
class ModuleRun:
    """A run of a module.

    Attributes:
        subject: What ran.
        known: What was known of it.
        trace: What was heard.
        vocabularies: Sizes of the tables of embeddings the module has.
        output: Its main output, [batch, token, width] where it has three axes, or None.
        masks: The masks each call was handed, in the order of the calls.
        by_hand: Whether each call is a softmax written by hand.
    """

    subject: Subject
    known: Known
    trace: Trace
    vocabularies: frozenset[int] = frozenset()
    output: torch.Tensor | None = None
    masks: tuple[tuple[HandedMask, ...], ...] = ()
    by_hand: tuple[bool, ...] = ()


def run_module(subject: Subject, known: Known, vocabularies: frozenset[int] = frozenset()) -> ModuleRun:
    """Run a module plainly, then again while listening.

    Args:
        subject: The module with its inputs.
        known: What is known beside what will be heard.
        vocabularies: Sizes of its tables of embeddings: outputs of such a width say which token.

    Raises:
        CannotTraceError: the module raises on these inputs, no attention is heard, or its axes cannot be told.
        UsageError: labels that fit nothing.
    """
    plain = subject.plain()
    hearing = Hearing()
    returned = subject.heard(hearing)
    trace = trace_of(hearing, known)
    before, after = (main_of(one, trace) for one in (plain, returned))
    side = trace.batch.decoder or trace.batch
    drift = _drift(before, after, side)
    trace = replace(trace, drift=drift, outputs=_outputs(after, trace, vocabularies))
    numberless = _NUMBERLESS if before is not None and bool(before.isnan().any()) else ()
    trace = replace(trace, notes=(*trace.notes, *numberless, *doubts(trace, before)), doubted=drifted(trace, before))
    return ModuleRun(
        subject,
        known,
        trace,
        vocabularies,
        after,
        tuple(call.masks for call in hearing.calls),
        tuple(call.how == "softmax" for call in hearing.calls),
    )


_NUMBERLESS = ("some outputs of the module are not numbers (NaN) on these inputs",)


def _drift(before: torch.Tensor | None, after: torch.Tensor | None, side: Batch) -> float | None:
    """How far listening moved the outputs of real positions; what is no number in both has not moved."""
    if before is None or after is None or before.shape != after.shape:
        return None
    neither = before.isnan() & after.isnan()
    return largest_difference(before.masked_fill(neither, 0.0), after.masked_fill(neither, 0.0), side)


def run_module_gated(ran: ModuleRun, head_mask: HeadMask) -> Trace:
    """Run again with gates on heads, applied to each head's output before the output projection.

    Raises:
        UsageError: the mask names a head that did not run.
    """
    hearing, returned = _gated(ran, head_mask)
    heard = trace_of(hearing, ran.known).calls
    calls = tuple(replace(call, pattern=other.pattern) for call, other in zip(ran.trace.calls, heard, strict=True))
    trace = replace(ran.trace, calls=calls, head_mask=head_mask, drift=None, rounding=None, plain_attention="")
    return replace(trace, outputs=_outputs(main_of(returned, trace), trace, ran.vocabularies))


def gated_output_of(ran: ModuleRun, head_mask: HeadMask) -> torch.Tensor | None:
    """The whole main output of a run that `run_module_gated` would make; None where there is none."""
    return main_of(_gated(ran, head_mask)[1], ran.trace)


def _gated(ran: ModuleRun, head_mask: HeadMask) -> tuple[Hearing, Any]:
    hearing = Hearing(gates=_gates(ran.trace, head_mask))
    returned = ran.subject.heard(hearing)
    if len(hearing.calls) != len(ran.trace.calls):
        raise UsageError(
            f"with these heads silenced {len(hearing.calls)} attentions run, {len(ran.trace.calls)} did before",
            "what the module runs depends on what it computes: its heads cannot be told apart by their order",
        )
    return hearing, returned


def _gates(trace: Trace, head_mask: HeadMask) -> Mapping[int, FloatArray]:
    """Gates float32 [head] by the number of the call."""
    ran = {(call.stack.value, call.layer, head) for call in trace.calls for head in range(call.heads)}
    for stack, head, _ in head_mask.changed():
        if (stack, head.layer, head.head) not in ran:
            layers = ", ".join(str(call.layer) for call in trace.of_stack(Stack(stack)))
            raise UsageError(f"head {head} has no attention to gate", f"attention runs in {stack} layers {layers}")
    found = {}
    for number, call in enumerate(trace.calls):
        gates = head_mask.of(call.stack, call.layer)
        if gates is not None and (gates[: call.heads] != 1).any():
            found[number] = gates[: call.heads]
    return found


def main_of(returned: Any, trace: Trace) -> torch.Tensor | None:
    """The first tensor of numbers a module returned, its axes [batch, token, width] where it has three."""
    found = next(_floating(returned), None)
    side = trace.batch.decoder or trace.batch
    if found is None:
        return None
    if found.is_nested:
        found = found.contiguous().to_padded_tensor(0.0)
    if (
        found.ndim == 3
        and found.shape[:2] != (side.rows, side.length)
        and found.shape[1::-1] == (side.rows, side.length)
    ):
        found = found.transpose(0, 1)
    if found.ndim == 2 and side.rows == 1 and found.shape[0] == side.length:
        found = found[None]  # an input without a batch
    return found


def _floating(returned: Any) -> Iterator[torch.Tensor]:
    """Tensors of numbers in what a module returned, what is called logits first."""
    if isinstance(returned, torch.Tensor):
        if returned.is_floating_point() and (returned.is_nested or returned.ndim):
            yield returned
    elif isinstance(returned, np.ndarray):
        yield from _floating(torch.as_tensor(returned))
    elif isinstance(returned, Mapping):
        for name in sorted(returned, key=lambda name: "logits" not in str(name)):
            yield from _floating(returned[name])
    elif isinstance(returned, list | tuple):
        for one in returned:
            yield from _floating(one)
    elif hasattr(returned, "__dict__"):
        yield from _floating(vars(returned))


def _outputs(output: torch.Tensor | None, trace: Trace, vocabularies: frozenset[int]) -> Outputs | None:
    if output is None:
        return None
    side = trace.batch.decoder or trace.batch
    causal = bool(trace.calls) and all(call.stack is not Stack.ENCODER for call in trace.calls)
    if output.ndim == 2 and output.shape[0] == side.rows:
        labels = tuple(f"output {place}" for place in range(output.shape[1]))
        return kept_outputs([SimpleNamespace(logits=output)], trace.batch, offset=0, causal=causal, labels=labels)
    names_tokens = output.ndim == 3 and output.shape[-1] in vocabularies and bool((side.ids >= 0).any())
    kept = SimpleNamespace(logits=output) if names_tokens and causal else SimpleNamespace(last_hidden_state=output)
    behind = side.length - output.shape[1] if output.ndim == 3 else 0  # of a cache, the last positions alone
    offset = behind if any(behind == call.mask.query_offset for call in trace.calls) else 0
    return kept_outputs([kept], trace.batch, offset=offset, causal=causal, labels=())
