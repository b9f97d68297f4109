"""A module of the user's own becomes cases: each mask on its way, and what the run did. Imports torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from maskviz.analyse.check import check, unasked
from maskviz.api.checking.array import MaskNumbers, array_of
from maskviz.api.runs.own import Own
from maskviz.core.arrays import BoolArray, Content
from maskviz.core.checks.case import Behaviour, Case, GivenArray, GivenBatch, ModelFacts, Sizes, Trial, Unasked
from maskviz.core.checks.findings import Checked
from maskviz.core.checks.intended import at_one_end
from maskviz.core.checks.known import TRAPS
from maskviz.core.rules.grammar import parse_rule
from maskviz.core.run.trace import AttentionCall, Batch, OutputKind, Trace
from maskviz.core.words import Dialect, Purpose
from maskviz.core.writing import plural
from maskviz.load.models.own_module import padding_ids
from maskviz.tracing.modules.experiments import moved_by_later
from maskviz.tracing.modules.heard import HandedMask
from maskviz.tracing.modules.reading import with_padding
from maskviz.tracing.modules.run import ModuleRun
from maskviz.view.choosing import card_line

# Cells of a mask that is asked about whole.
_MOST_CELLS = 2**26
# Share of the outputs' size below which a difference is rounding.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class _Cases:
    """What a check of a module looks at.

    Attributes:
        run: The run and what it did.
        masks: Each mask that reached an attention, alone.
        cells: What each distinct mask comes to in the end, alone.
    """

    run: Case
    masks: tuple[Case, ...]
    cells: tuple[Case, ...]


def checked_own(own: Own, ran: ModuleRun, chosen: tuple[str, ...], meant: str | None = None) -> Checked:
    """Ask a run of a module, and every mask on its way, for the chosen rules.

    Args:
        own: The module and its inputs.
        ran: Its run.
        chosen: Ids of rules.
        meant: The mask that is meant, in the words of rules.

    Raises:
        UsageError: what is meant is no rule.
    """
    cases = _cases(own, ran, meant)
    findings = [one for case in (cases.run, *cases.masks) for one in check(case, chosen)]
    known = {one.rule for one in findings}  # what a mask is said to do is not said again of the cells it makes
    findings += [one for case in cases.cells for one in check(case, chosen) if one.rule not in known]
    findings.sort(key=lambda one: list(TRAPS).index(one.rule))
    trace, count = ran.trace, len(cases.masks)
    asked = ["the module's run", f"the masks and the attention of {plural(len(trace.calls), 'call')}"]
    asked += [f"{plural(count, 'mask')} as handed over"] if count else []
    return Checked(
        own.name or type(own.module).__name__,
        card_line(trace.card),
        tuple(findings),
        tuple(asked),
        trace.notes,
        unasked=_asked_nowhere((cases.run, *cases.masks, *cases.cells), chosen),
        passes=0 if cases.run.run is None else cases.run.run.passes,
    )


def _asked_nowhere(cases: Sequence[Case], chosen: tuple[str, ...]) -> tuple[Unasked, ...]:
    """The rules that none of several cases could be asked, by the reason of the first."""
    missing = [unasked(case, chosen) for case in cases]
    nowhere = set.intersection(*({trap for one in case for trap in one.traps} for case in missing))
    left = [(tuple(trap for trap in one.traps if trap in nowhere), one.reason) for one in missing[0]]
    return tuple(Unasked(traps, reason) for traps, reason in left if traps)


def _cases(own: Own, ran: ModuleRun, meant: str | None) -> _Cases:
    claimed = _claimed(own, ran.trace)
    if claimed is not None:
        ran = replace(ran, trace=replace(ran.trace, batch=with_padding(ran.trace.batch, claimed)))
    trace = ran.trace
    batch = _given(trace)
    facts = ModelFacts(trace.card.architecture, "its own", predicts_next=_predicts_next(trace), own=True)
    rule = None if meant is None else parse_rule(meant, None, Content(trace.batch.keep, np.bool_))
    run = Case(batch=batch, purpose=Purpose.FORWARD, model=facts, run=_behaviour(ran), meant=rule)
    cells = tuple(
        Case(array=_final(mask.visible, calls, ran))
        for mask, calls in trace.distinct_masks()
        if mask.visible.size <= _MOST_CELLS and not mask.visible.all()
    )
    return _Cases(run, tuple(_handed(ran, batch if claimed is not None else None)), cells)


def _handed(ran: ModuleRun, batch: GivenBatch | None) -> Iterator[Case]:
    """A case for each mask that was handed over, in the company of what the inputs say is padding."""
    trace = ran.trace
    seen: list[tuple[HandedMask, list[AttentionCall]]] = []
    for call, masks in zip(trace.calls, ran.masks, strict=True):
        for mask in masks:
            same = next((calls for other, calls in seen if _alike(mask, other)), None)
            if same is None:
                seen.append((mask, [call]))
            else:
                same.append(call)
    for mask, calls in seen:
        if mask.tensor.numel() <= _MOST_CELLS:
            yield Case(array=_array(mask, calls, trace), batch=batch)


def _alike(one: HandedMask, other: HandedMask) -> bool:
    if one.tensor is other.tensor:
        return one.name == other.name
    return (
        (one.name, one.dialect, one.tensor.shape, one.tensor.dtype)
        == (other.name, other.dialect, other.tensor.shape, other.tensor.dtype)
    ) and torch.equal(one.tensor, other.tensor)


def _array(mask: HandedMask, calls: Sequence[AttentionCall], trace: Trace) -> GivenArray:
    return array_of(
        MaskNumbers.of(mask.tensor, f"{mask.name} of {_where(calls)}"), mask.dialect, _sizes(calls[0]), trace.card.dtype
    )


def _final(visible: BoolArray, calls: Sequence[AttentionCall], ran: ModuleRun) -> GivenArray:
    """What calls may see in the end, however it came about; what was handed over is tried by itself."""
    name = f"what {_where(calls)} may see"
    heard = zip(ran.trace.calls, ran.by_hand, strict=True)
    by_hand = [call for call, own in heard if own and any(call is one for one in calls)]
    trial = Trial(not_numbers=max((_not_numbers(visible, call) for call in by_hand), default=0))
    dtype = ran.trace.card.dtype
    return GivenArray(name, visible, "bool", Dialect.SDPA, _sizes(calls[0]), dtype, visible, trial=trial)


def _not_numbers(visible: BoolArray, call: AttentionCall) -> int:
    """How many queries [row, query] that may attend to nothing had weights in the run that are no numbers."""
    if call.pattern is None:
        return 0
    lost: BoolArray = np.asarray(np.isnan(call.pattern).any(axis=-1) & ~visible.any(axis=-1))
    return int(lost.any(axis=1).sum())


def _sizes(call: AttentionCall) -> Sizes:
    rows, _, queries, keys = call.mask.visible.shape
    return Sizes(rows, call.heads, queries, keys)


def _where(calls: Sequence[AttentionCall]) -> str:
    first = calls[0].module or "the module"
    more = len(calls) - 1
    return first if not more else f"{first} and {more} more"


def _claimed(own: Own, trace: Trace) -> BoolArray | None:
    """What the inputs say is padding, whatever the masks do: bool [batch, position], False = padding; None for nothing.

    An argument says it by its name: an attention mask is 1 at tokens. Ids say it where they are the `padding_idx` of an
    embedding, and vectors where they are zero, at an end of their rows.
    """
    side = trace.batch
    inputs = own.inputs if isinstance(own.inputs, Mapping) else {}
    for name, value in inputs.items():
        keep = _by_name(str(name), value, side)
        if keep is not None:
            return keep
    others = own.inputs if isinstance(own.inputs, list | tuple) else (own.inputs,)
    named = [value for name, value in inputs.items() if "mask" not in str(name)]
    for value in (*named, *others):
        keep = _by_content(own, value, side)
        if keep is not None:
            return keep
    return None


_SAYS_KEEP = re.compile(r"^(src_|input_|encoder_)?(attention|keep|valid)_?mask$|^keep$")


def _by_name(name: str, value: Any, side: Batch) -> BoolArray | None:
    if not hasattr(value, "shape") or tuple(value.shape) != side.ids.shape or not _SAYS_KEEP.search(name):
        return None
    keep = np.asarray(torch.as_tensor(value).detach().cpu().numpy() > 0)
    return keep if not keep.all() and keep.any(axis=1).all() and at_one_end(keep) else None


def _by_content(own: Own, value: Any, side: Batch) -> BoolArray | None:
    """Padding at an end of rows, told by ids or by vectors of zeros."""
    if not isinstance(value, torch.Tensor | np.ndarray):
        return None
    tensor = torch.as_tensor(value).detach().cpu()
    if tensor.is_nested:
        return None
    if tensor.ndim == 3 and tensor.is_floating_point():
        keep = np.asarray((tensor != 0).any(dim=-1).numpy())
    elif tensor.ndim == 2 and not tensor.is_floating_point() and tensor.dtype is not torch.bool:
        pads = padding_ids(own.module) if isinstance(own.module, torch.nn.Module) else frozenset()
        if not pads:
            return None
        keep = ~np.isin(tensor.numpy(), sorted(pads))
    else:
        return None
    keep = keep if keep.shape == side.ids.shape else keep.T
    if keep.shape != side.ids.shape or keep.all() or not keep.any(axis=1).all() or not at_one_end(keep):
        return None
    return keep


def _given(trace: Trace) -> GivenBatch:
    """The batch as rules take it, with its padding; a mask that keeps nothing of a row says nothing of padding."""

    def ids(side: Batch | None) -> tuple[tuple[int, ...], ...]:
        return () if side is None else tuple(tuple(row) for row in side.ids.tolist())

    def kept(side: Batch | None) -> tuple[tuple[int, ...] | None, ...]:
        if side is None:
            return ()
        told = side.keep.any(axis=1).all()
        return tuple(tuple(row.astype(int).tolist()) if told else None for row in side.keep)

    side, decoder = trace.batch, trace.batch.decoder
    return GivenBatch(ids(side), kept(side), decoder_ids=ids(decoder), decoder_keep=kept(decoder))


def _predicts_next(trace: Trace) -> bool:
    """Whether a module alone in its stack looks back, in some layer at least."""
    return trace.batch.decoder is None and any(_looks_back(call) for call in trace.calls)


def _looks_back(call: AttentionCall) -> bool:
    visible = call.mask.visible.any(axis=(0, 1))
    later = np.triu(np.ones(visible.shape, np.bool_), 1 + call.mask.query_offset)
    return visible.shape[0] > 1 and bool(later.any()) and not bool((visible & later).any())


def _behaviour(ran: ModuleRun) -> Behaviour:
    """The run, and whether changing a later token moves what comes before it."""
    trace, unasked, passes, earlier = ran.trace, [_NOT_ALONE], 2, None
    outputs = ran.output
    size = 1.0 if outputs is None or not outputs.numel() else float(outputs.float().abs().nan_to_num(0.0).max())
    of_tokens = trace.outputs is not None and trace.outputs.kind is OutputKind.CAUSAL_LM
    if any(map(_looks_back, trace.calls)) or (trace.batch.decoder is not None and of_tokens):
        earlier = moved_by_later(ran)
        passes += 0 if earlier is None else earlier.passes
        if earlier is None:
            unasked.append(Unasked(("L1",), "no input, or no output, has a number for each position"))
    else:
        unasked.append(Unasked(("L1",), "nothing says that the module is to be causal"))
    moved = None if earlier is None else earlier.most
    return Behaviour(trace, size=size, rounding=_ROUNDING, earlier=moved, unasked=tuple(unasked), passes=passes)


_NOT_ALONE = Unasked(("P11", "K1"), "which inputs of a module are rows of a batch is not known for sure")
