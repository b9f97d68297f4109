"""One run of a loaded model over a long text becomes a LongTrace, in memory that grows with the text's length alone."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.errors import CannotTraceError, NoWeightsError
from maskviz.core.rules.algebra import Opaque, Rule
from maskviz.core.rules.recognise import recognise
from maskviz.core.run.long import LongCall, LongTrace
from maskviz.core.run.trace import Batch, ModelCard, Trace
from maskviz.core.words import Stack, Way
from maskviz.core.writing import parameter
from maskviz.tracing.calling import Inputs, explained, is_weightless, same_randomness
from maskviz.tracing.listen.recorder import Expected, Recorder, shards_of
from maskviz.tracing.listen.taps import MaskDialect
from maskviz.tracing.long.promised import Masks, RewrittenMaskError
from maskviz.tracing.long.rehearsal import Rehearsed, RehearsedPart, parts_of, shortened, sides_of
from maskviz.tracing.long.summing import NotRehearsedError, Streamed, Streaming, streamed
from maskviz.tracing.long.tally import Keeping
from maskviz.tracing.meaning.hearing import StackLayer, towers_of
from maskviz.tracing.run import run

# Rows of each call that are compared with the model's own eager attention.
SAMPLED = 8
# Largest difference of a rehearsal from a traced run, in float32 and else. Each call is held to its own inputs more
# strictly; here two runs are compared, and what they round differently grows from layer to layer.
_SAME, _SAME_ELSE = 5e-3, 5e-2


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """A model, what it is called with, and what that stands for."""

    model: PreTrainedModel
    inputs: Inputs
    batch: Batch
    card: ModelCard


def rehearse(model: PreTrainedModel, inputs: Inputs, batch: Batch, card: ModelCard) -> Rehearsed:
    """Run a model on a part of the text, traced and streamed, and compare the two on every row.

    Raises:
        CannotTraceError: it cannot be traced, or not be streamed.
    """
    if is_weightless(model):
        raise NoWeightsError("a long run adds up numbers", card.note, "'maskviz mask' shows masks of any length")
    if shards_of(model).paths:
        raise CannotTraceError(
            f"a model spread with {parameter('parallel', 'tp')} cannot run long texts",
            f"leave out {parameter('parallel')}",
        )
    inputs, part = shortened(inputs, batch)
    short = run(model, inputs, part, card)
    if not short.calls:
        raise CannotTraceError(
            f"{card.architecture} has no attention to add up", f"leave out {parameter('pool')} and {parameter('rows')}"
        )
    parts = parts_of(short)
    why = "it mixes tokens in a way that is not added up by blocks"
    if parts is not None:
        keeping = Keeping(tile=8, rows=tuple(range(max(part.length, part.decoder.length if part.decoder else 0))))
        for whole in (False, True):
            try:
                calls = _streamed(
                    _Inputs(model, inputs, part, card), parts, keeping, list(keeping.rows), whole_masks=whole
                )
            except (RewrittenMaskError, NotRehearsedError) as error:
                why = str(error)
                continue
            why = _unlike(calls, short, card)
            if not why:
                by_hand = any(call.way is Way.LAYER for call in calls)
                return Rehearsed(parts, whole, by_hand, any(call.biased for call in calls), short)
    raise CannotTraceError(
        f"{card.architecture} cannot be streamed: {why}",
        f"cut the text ({parameter('max_length')}) until its attention fits",
    )


def stream(
    model: PreTrainedModel, inputs: Inputs, batch: Batch, card: ModelCard, keeping: Keeping, rehearsed: Rehearsed
) -> LongTrace:
    """Run a rehearsed model over the whole text, its attention added up as it is made.

    Args:
        model: The model, on its device.
        inputs: Arguments of its forward, on the same device.
        batch: What the inputs stand for.
        card: What the model is.
        keeping: What of every call is kept.
        rehearsed: What `rehearse` returned for them.

    Raises:
        CannotTraceError: the model raises on this input, or does other than on a part of it.
    """
    sampled = _sampled(batch) | (_sampled(batch.decoder) if batch.decoder is not None else set())
    every = replace(keeping, rows=tuple(sorted({*keeping.rows, *sampled})))
    chosen = [every.rows.index(row) for row in keeping.rows]
    try:
        given = _Inputs(model, inputs, batch, card)
        calls = _streamed(given, rehearsed.parts, every, chosen, whole_masks=rehearsed.whole_masks)
    except (RewrittenMaskError, NotRehearsedError) as error:
        raise CannotTraceError(
            f"{card.architecture} cannot be streamed: {error}", f"cut the text ({parameter('max_length')})"
        ) from error
    wanted = [part for part in rehearsed.parts.values() if keeping.wants(part.layer)]
    rules = _rules(calls, wanted, batch)
    long = tuple(_long_call(*each) for each in zip(calls, wanted, rules, strict=True))
    compared = len(sampled) if any(call.difference is not None for call in long) else 0
    notes = rehearsed.short.notes
    return LongTrace(card, batch, long, keeping.tile, keeping.rows, keeping.region, compared, notes)


def _streamed(
    given: _Inputs, parts: Mapping[StackLayer, RehearsedPart], keeping: Keeping, chosen: list[int], *, whole_masks: bool
) -> list[Streamed]:
    model, batch = given.model, given.batch
    sides = [batch] if batch.decoder is None else [batch, batch.decoder]
    expected = Expected(batch.rows, frozenset(side.length for side in sides), frozenset(given.card.heads))
    streaming = Streaming(
        keeping,
        chosen,
        sides_of(parts, batch, model.device),
        frozenset(place for place, part in parts.items() if keeping.wants(part.layer)),
        Masks(),
        MaskDialect(model),
        Recorder(expected, towers=towers_of(model)),
    )
    module, arguments = _without_head(given, parts)
    with ExitStack() as block:
        block.enter_context(explained(given.card, "cannot be streamed"))
        block.enter_context(torch.no_grad())
        block.enter_context(same_randomness())
        block.enter_context(streamed(model, streaming, whole_masks=whole_masks))
        block.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "Use of .* on expanded tensors")  # it writes into a stand-in: found out below
        call_as_it_is(module, arguments)
    if streaming.heard != list(parts):
        raise NotRehearsedError("other modules attend than when it is traced")
    return streaming.calls


def call_as_it_is(module: torch.nn.Module, arguments: dict[str, Any]) -> None:
    """Call a module; nothing else happens here, so that what is raised is about the call."""
    module(**arguments)


def _without_head(given: _Inputs, parts: Mapping[StackLayer, RehearsedPart]) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The part of a model that attends: its head would make a vocabulary of numbers for every token. Nothing is put
    into a cache, unless packed texts are to be read as a plain call reads them."""
    arguments = dict(given.inputs)
    module: torch.nn.Module = given.model
    prefix = given.model.base_model_prefix
    base = getattr(given.model, prefix, None) if prefix else None
    if isinstance(base, torch.nn.Module) and all(path.startswith(f"{prefix}.") for path, _ in parts):
        takes = inspect.signature(base.forward).parameters
        if all(name in takes for name in arguments):
            module = base
    if "use_cache" in inspect.signature(module.forward).parameters and given.batch.documents is None:
        arguments["use_cache"] = False
    return module, arguments


def _unlike(calls: Sequence[Streamed], short: Trace, card: ModelCard) -> str:
    """How streamed calls differ from traced ones on any row; empty where they do not."""
    most = _SAME if card.dtype in ("float32", "float64", "") else _SAME_ELSE
    for call, traced in zip(calls, short.calls, strict=True):
        real = short.real_queries(traced)
        assert traced.pattern is not None
        rows = np.swapaxes(call.tallied.rows, 1, 2)[:, : traced.pattern.shape[2]][real]
        apart = float(np.abs(rows - np.swapaxes(traced.pattern, 1, 2)[real]).max(initial=0.0))
        if not apart <= most:  # a stand-in that was calculated with leaves no numbers
            return f"{call.module} differs by {apart:.1g} from what is traced"
    return ""


def _sampled(side: Batch) -> set[int]:
    """Rows spread over a text, its first and its last token among them."""
    return {round(place) for place in np.linspace(0, side.length - 1, SAMPLED)}


def _long_call(call: Streamed, part: RehearsedPart, rule: Rule) -> LongCall:
    return LongCall(
        stack=part.stack,
        layer=part.layer,
        module=call.module,
        heads=call.heads,
        key_heads=part.key_heads,
        rule=rule,
        queries=call.queries,
        keys=call.keys,
        sums=call.tallied.sums,
        largest=call.tallied.largest,
        statistics=call.tallied.statistics,
        rows=call.tallied.rows,
        region=call.tallied.region,
        way=call.way,
        difference=call.difference,
    )


def _rules(calls: Sequence[Streamed], parts: Sequence[RehearsedPart], batch: Batch) -> list[Rule]:
    """The rule of each call; where the model made its mask itself it is read off the cells, once for those that share
    them."""
    known: dict[int, Rule] = {}
    rules: list[Rule] = []
    for call, part in zip(calls, parts, strict=True):
        if call.rule is not None:
            rules.append(call.rule)
            continue
        if call.visible is None:
            rules.append(Opaque(f"{call.module}: unrecognised"))
            continue
        keys = batch.decoder if part.stack is Stack.DECODER and batch.decoder is not None else batch
        if id(call.visible) not in known:
            known[id(call.visible)] = recognise(call.visible, keys.keep)
        rules.append(known[id(call.visible)])
    return rules
