"""One model type, tried: maskviz beside the model itself, and the weightless run beside the weighted one."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.errors import MaskvizError
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Stack
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded
from maskviz.tracing.run import run
from tools.families import Family, family_of, layers_without_attention
from tools.model_types import ModelType
from tools.own_attention import OVERWRITTEN, OwnAttention, own_attention
from tools.tiny_models import NOT_SHARPENED, SHARPNESS, Tiny, encoded, tinies

TOLERANCE = 1e-5
# Below this, a cell that is zero may have underflowed instead of being blocked.
_UNDERFLOW = 1e-20


class Status(StrEnum):
    """How a type came out."""

    RIGHT = "right"
    WRONG = "wrong"
    NOT_COMPARABLE = "not comparable"
    NOT_BUILT = "not built"


class Weightless(StrEnum):
    """How the weightless run came out."""

    SAME = "same"
    DIFFERENT = "different"
    NOT_THERE = "not there yet"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one type.

    Attributes:
        name: The model type.
        status: Whether maskviz shows what the model does.
        family: Where it stands in the table.
        architecture: The class that ran.
        reason: Why it is not right; empty where it is.
        source: What it was compared with.
        silent: For each layer without an attention matrix, what it is.
        weightless, weightless_reason: How the run without weights came out.
        rules: The rules that maskviz names, per stack.
        details: Everything that differs, for a person who looks at one type.
    """

    name: str
    status: Status
    family: Family = Family.ENCODER
    architecture: str = ""
    reason: str = ""
    source: str = ""
    silent: tuple[str, ...] = ()
    weightless: Weightless = Weightless.NOT_RUN
    weightless_reason: str = ""
    rules: tuple[str, ...] = ()
    details: tuple[str, ...] = field(default=())


def examine(model_type: ModelType) -> Verdict:
    """Try one type; whatever it raises becomes its verdict."""
    try:
        tiny, model, loaded, batch, own = prepared(model_type)
    except Exception as error:
        status = Status.WRONG if isinstance(error, MaskvizError) else Status.NOT_BUILT
        return Verdict(model_type.name, status, reason=described(error), details=_lines(error))
    verdict = Verdict(
        model_type.name,
        Status.WRONG,
        family=family_of(model.config, type(model)),
        architecture=type(model).__name__,
        source=own.source,
    )
    try:
        trace = _traced(tiny.build(), loaded, batch)
    except Exception as error:
        return replace(verdict, reason=described(error), details=_lines(error))
    differences = [*_differences(trace, own)]
    silent, unsaid = layers_without_attention(
        trace, model.config, {stack: len(maps) for stack, maps in own.maps.items()}
    )
    differences += unsaid
    status = Status.WRONG if differences else Status.RIGHT
    if not own.maps and trace.calls:
        status, differences = Status.NOT_COMPARABLE, ["the model returns no attention to compare with"]
    verdict = replace(
        verdict,
        status=status,
        reason=differences[0] if differences else "",
        details=tuple(differences),
        silent=silent,
        rules=tuple(sorted({f"{call.stack.value}: {call.mask.rule}" for call in trace.calls})),
    )
    outcome, why = _weightless(tiny, loaded, batch, trace)
    return replace(verdict, weightless=outcome, weightless_reason=why)


def prepared(model_type: ModelType) -> tuple[Tiny, PreTrainedModel, Loaded, Encoded, OwnAttention]:
    """The first class of the type that runs on ids alone, as sharp as its numbers allow, with its own attention."""
    first: Exception | None = None
    for tiny in tinies(model_type):
        try:
            return _sharpest(tiny, model_type.name)
        except Exception as error:
            first = first or error
    raise first or ValueError("no class reads ids")


def _sharpest(tiny: Tiny, name: str) -> tuple[Tiny, PreTrainedModel, Loaded, Encoded, OwnAttention]:
    for factor in (1.0,) if name in NOT_SHARPENED else SHARPNESS:
        sharp = tiny.sharpened(factor)
        model = sharp.build("eager")
        loaded, batch = encoded(model, name)
        own = own_attention(model, batch.inputs, name)
        if own.finite() and own.smallest() > _UNDERFLOW:
            break
    return sharp, model, loaded, batch, own


def _traced(model: PreTrainedModel, loaded: Loaded, batch: Encoded) -> Trace:
    return run(model, batch.inputs, batch.batch, loaded.card)


def _differences(trace: Trace, own: OwnAttention) -> list[str]:
    """What maskviz shows differently from the model, one line per layer that differs."""
    found = []
    returned = _merged(trace, own.maps)
    if set(returned) - {""} and set(returned) != {stack.value for stack in trace.stacks}:
        found.append(f"stacks {', '.join(trace.stacks)} heard, the model returns {', '.join(returned)}")
    for stack, maps in returned.items():
        calls = [call for call in trace.calls if not stack or call.stack.value == stack]
        groups = _grouped(calls, len(maps))
        if len(groups) != len(maps):
            found.append(f"{stack or 'the model'}: {len(calls)} calls heard, {len(maps)} maps returned")
        for group, one in zip(groups, maps, strict=False):
            found += [] if one is None else sorted((_difference(trace, call, one) for call in group), key=len)[0]
    return found


def _grouped(calls: list[AttentionCall], count: int) -> list[list[AttentionCall]]:
    """The calls that stand for each of `count` maps: one, or those of a module that attends twice and returns one map.

    LiLT does: of such a module, one of the calls must be what it returns.
    """
    modules: dict[str, list[AttentionCall]] = {}
    for call in calls:
        modules.setdefault(call.module, []).append(call)
    return list(modules.values()) if len(calls) != count == len(modules) else [[call] for call in calls]


def _merged(trace: Trace, maps: dict[str, list[AnyArray | None]]) -> dict[str, list[AnyArray | None]]:
    """A decoder that takes one softmax over its own keys and the encoder's (T5Gemma 2) returns it in two parts.

    Where maskviz shows it whole, the parts are put side by side.
    """
    calls = [call for call in trace.calls if call.stack is Stack.DECODER]
    own, cross = maps.get("decoder", []), maps.get("cross", [])
    if not calls or Stack.CROSS in trace.stacks or not own or len(own) != len(cross):
        return maps
    whole: list[AnyArray | None] = [
        np.concatenate([one, other], axis=-1)
        for one, other in zip(own, cross, strict=True)
        if one is not None and other is not None and one.shape[:3] == other.shape[:3]
    ]
    if not whole or whole[0] is None or calls[0].mask.visible.shape[3] != whole[0].shape[3]:
        return maps
    return {stack: found for stack, found in maps.items() if stack not in ("decoder", "cross")} | {"decoder": whole}


def _difference(trace: Trace, call: AttentionCall, own: AnyArray) -> list[str]:
    """How one call differs from the map [batch, head, query, key] that the model returns for it."""
    place = f"{call.stack} {call.layer} ({call.module})"
    if call.pattern is None:
        return [f"{place}: no pattern"]
    if own.shape != call.pattern.shape:
        return [f"{place}: pattern is {list(call.pattern.shape)}, the model returns {list(own.shape)}"]
    real = trace.real_queries(call)
    pattern, theirs = _rows(call.pattern, real), _rows(own, real)
    visible = _rows(np.broadcast_to(call.mask.visible, own.shape), real)
    # a row that may see nothing is spread evenly over all it may not see, and has no meaning
    empty = ~visible.any(axis=2, keepdims=True) & (np.ptp(theirs, axis=2, keepdims=True) < TOLERANCE)
    theirs = np.where(empty, 0, theirs)
    pattern = np.where(empty, 0, pattern)
    found = []
    if trace.card.model_type in OVERWRITTEN:
        short = theirs.sum(axis=2, keepdims=True) < 1 - TOLERANCE
        pattern = np.where(short, theirs, pattern)
    difference = float(np.abs(pattern - theirs).max(initial=0))
    if not difference <= TOLERANCE:
        found.append(f"{place}: pattern differs by {difference:.1e}")
    wrong = visible != (theirs != 0)
    if wrong.any():
        more, fewer = int((visible & wrong).sum()), int((~visible & wrong).sum())
        row, head, key = (int(one) for one in np.argwhere(wrong)[0])
        found.append(
            f"{place}: {more} cells visible that the model does not attend to, {fewer} blocked that it does, of "
            f"{wrong.size}; first at real row {row}, head {head}, key {key}"
        )
    return found


def _rows(array: AnyArray, real: BoolArray) -> AnyArray:
    """Rows of real queries [batch, query] of [batch, head, query, key] as [row, head, key]."""
    selected: AnyArray = array.transpose(0, 2, 1, 3)[real]
    return selected


def _weightless(tiny: Tiny, loaded: Loaded, batch: Encoded, weighted: Trace) -> tuple[Weightless, str]:
    """The run without weights beside the one with them: the same calls, cells on real rows, and rules."""
    try:
        from maskviz.load.models.weights import without_weights  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return Weightless.NOT_THERE, ""
    try:
        trace = _traced(without_weights(tiny.model_class, tiny.config), loaded, batch)
    except Exception as error:
        return Weightless.DIFFERENT, described(error)
    differences = list(_weightless_differences(trace, weighted))
    return (Weightless.DIFFERENT, differences[0]) if differences else (Weightless.SAME, "")


def _weightless_differences(trace: Trace, weighted: Trace) -> list[str]:
    """Layers that say "depends on content" are right to; every other layer must be heard and be the same."""
    silent: Any = getattr(trace, "silent", ())
    dependent = {(one.stack, one.layer) for one in silent if one.kind == "depends on content"}
    calls: dict[tuple[str, int, str], list[AttentionCall]] = {}  # DiffLlama attends twice in one module
    for call in trace.calls:
        calls.setdefault((call.stack, call.layer, call.module), []).append(call)
    found = []
    for call in weighted.calls:
        if (call.stack, call.layer) in dependent:
            continue
        same = calls.get((call.stack, call.layer, call.module), [])
        if not same:
            found.append(f"{call.stack} {call.layer}: heard only with weights")
            continue
        other = same.pop(0)
        real = weighted.real_queries(call)
        shape = (*call.mask.visible.shape[:1], call.heads, *call.mask.visible.shape[2:])
        ours, theirs = (np.broadcast_to(one.mask.visible, shape) for one in (other, call))
        if not np.array_equal(_rows(ours, real), _rows(theirs, real)):
            found.append(f"{call.stack} {call.layer}: other cells visible without weights")
        elif str(other.mask.rule) != str(call.mask.rule):
            found.append(f"{call.stack} {call.layer}: rule {other.mask.rule} without weights, {call.mask.rule} with")
    return found + [f"{stack} {layer}: heard only without weights" for (stack, layer, _), rest in calls.items() if rest]


def described(error: BaseException) -> str:
    """An error in one line, with the file of the library it was raised in."""
    text = " ".join(str(error).split())[:200]
    package = re.search(r"requires the (\w+) library|No module named '(\w+)'", text)
    if isinstance(error, ImportError) and package:
        return f"needs the package {package[1] or package[2]}, which is not installed"
    frames = traceback.extract_tb(error.__traceback__)
    kind = "" if isinstance(error, MaskvizError) else f"{type(error).__name__}: "
    return f"{kind}{text}" + (f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames and kind else "")


def _lines(error: BaseException) -> tuple[str, ...]:
    return tuple("".join(traceback.format_exception(error)).splitlines())
