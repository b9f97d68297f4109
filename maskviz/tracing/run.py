"""One run of a loaded model becomes a Trace."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from maskviz.core.errors import CannotTraceError, NoWeightsError
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import Batch, ModelCard, Outputs, Trace
from maskviz.core.words import Stack
from maskviz.tracing.calling import (
    Calling,
    Inputs,
    called,
    explained,
    is_weightless,
    joined_output,
    kept_outputs,
    largest_difference,
    same_randomness,
)
from maskviz.tracing.listen.recorder import Expected, Recorder, shards_of
from maskviz.tracing.listen.shadow import Shadow
from maskviz.tracing.listen.taps import for_hand_written, listening
from maskviz.tracing.meaning.evidence import doubts, drifted, may_depart, rounding_of
from maskviz.tracing.meaning.hearing import Hearing, gates_of, hearing_of, silent_layers, towers_of
from maskviz.tracing.meaning.own_masks import departure_note, own_masks
from maskviz.tracing.seam.canaries import what_has_moved
from maskviz.tracing.seam.implementations import evaluating, implementation_of

_AT_ONCE = Calling()


def run(
    model: PreTrainedModel,
    inputs: Inputs,
    batch: Batch,
    card: ModelCard,
    calling: Calling = _AT_ONCE,
    like: Trace | None = None,
) -> Trace:
    """Run a model plainly, then again while listening, and return what was heard.

    A model whose parameters are on the meta device is run once, without numbers: its calls have masks and no patterns.

    Args:
        model: The model, on its device.
        inputs: Arguments of its forward, on the same device.
        batch: What the inputs stand for.
        card: What the model is.
        calling: Whether the text is fed at once, or part by part with a cache.
        like: A run of the same model, to tell an encoder from a decoder by where the masks at hand are no witness.

    Raises:
        CannotTraceError: the model raises on this input, or mixes its tokens in no way that is known.
    """
    asked = _Pass(model, inputs, batch, card, calling, like)
    plain = None if is_weightless(model) else joined_output(_plainly(model, inputs, card, calling))
    recorder, captured = _heard(model, inputs, batch, card, calling)
    trace = _traced(asked, recorder, captured, plain)
    if not may_depart(model, recorder) and not drifted(trace, plain):
        return _doubted(trace, plain)
    own = own_masks(model, inputs, trace, calling, recorder)
    if not own:
        return _doubted(trace, plain)
    recorder = replace(_recorder(model, batch, card, calling), own_masks=own)
    captured = _listening(model, inputs, recorder, card, calling)
    drawn = replace(_traced(asked, recorder, captured, plain), own_masks=True)
    return _doubted(replace(drawn, notes=departure_note(drawn, trace)), plain)


def _doubted(trace: Trace, plain: torch.Tensor | None) -> Trace:
    """A trace with what is to be said of it, behind what is said already."""
    return replace(trace, notes=(*trace.notes, *doubts(trace, plain)), doubted=drifted(trace, plain))


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """What `run` was given."""

    model: PreTrainedModel
    inputs: Inputs
    batch: Batch
    card: ModelCard
    calling: Calling
    like: Trace | None


def _traced(asked: _Pass, recorder: Recorder, captured: Sequence[Any], plain: torch.Tensor | None) -> Trace:
    """What a recorder heard as a trace, beside the output of a plain run."""
    model, inputs, batch, card, calling = asked.model, asked.inputs, asked.batch, asked.card, asked.calling
    weightless = is_weightless(model)
    hearing = hearing_of(recorder, batch, card, calling, asked.like)
    if weightless:
        hearing = _without_content(hearing, asked, recorder)
    _check_rows(card, batch, hearing)
    silent = (*hearing.silent, *silent_layers(model, card, hearing))
    if not hearing.calls and not any(layer.kind for layer in silent):
        heard = "maskviz hears models on transformers' attention interface, and hand-written softmax over query x key"
        raise CannotTraceError(f"no attention was heard in {card.architecture}", "; ".join((*what_has_moved(), heard)))
    trace = Trace(card, batch, hearing.calls, silent=silent)
    if weightless:
        return trace
    drift = largest_difference(plain, joined_output(captured), batch.decoder or batch)
    rounding = rounding_of(model, inputs, batch, card, calling, plain) if drift else None
    trace = replace(trace, plain_attention=implementation_of(model.config), drift=drift, rounding=rounding)
    return replace(trace, outputs=_outputs(captured, trace, model, calling))


def _check_rows(card: ModelCard, batch: Batch, hearing: Hearing) -> None:
    """Refuse a model that makes other rows of the rows it is given: MusicGen's ids are several codes of each moment."""
    for call in hearing.calls:
        rows = (call.mask.visible if call.pattern is None else call.pattern).shape[0]
        if rows not in (1, batch.rows) or (call.pattern is not None and rows != batch.rows):
            raise CannotTraceError(
                f"{card.architecture} makes {rows} of the {batch.rows} rows of its input: they are no texts",
                "maskviz shows models that read a text in each row",
            )


def run_gated(
    model: PreTrainedModel, inputs: Inputs, plain: Trace, head_mask: HeadMask, calling: Calling = _AT_ONCE
) -> Trace:
    """Run again with gates on heads, applied to each head's output before the output projection.

    Args:
        model, inputs, calling: As given to `run`.
        plain: What `run` returned for them; its calls say which head is where.
        head_mask: The gates.

    Raises:
        UsageError: the mask names a head that did not run, or the run has no numbers to gate.
    """
    recorder, captured = _gated(model, inputs, plain, head_mask, calling)
    heard = hearing_of(recorder, plain.batch, plain.card, calling).calls
    calls = tuple(replace(call, pattern=other.pattern) for call, other in zip(plain.calls, heard, strict=True))
    trace = replace(plain, calls=calls, head_mask=head_mask, drift=None, rounding=None, plain_attention="")
    return replace(trace, outputs=_outputs(captured, trace, model, calling))


def gated_output(model: PreTrainedModel, inputs: Inputs, plain: Trace, head_mask: HeadMask) -> torch.Tensor | None:
    """The whole main output, such as logits [batch, token, vocabulary], of a run that `run_gated` would make.

    Raises:
        UsageError: as `run_gated`.
    """
    return joined_output(_gated(model, inputs, plain, head_mask, _AT_ONCE)[1])


def _gated(
    model: PreTrainedModel, inputs: Inputs, plain: Trace, head_mask: HeadMask, calling: Calling
) -> tuple[Recorder, Sequence[Any]]:
    if is_weightless(model):
        raise NoWeightsError("a head mask changes numbers", plain.card.note)
    recorder = replace(_recorder(model, plain.batch, plain.card, calling), gates=gates_of(plain, head_mask))
    if plain.own_masks:
        heard, _ = _heard(model, inputs, plain.batch, plain.card, calling)
        recorder = replace(recorder, own_masks=own_masks(model, inputs, plain, calling, heard))
    return recorder, _listening(model, inputs, recorder, plain.card, calling)


def head_shapes(trace: Trace) -> dict[str, tuple[int, int]]:
    """(layers, heads) of each stack that ran, as `parse_head_mask` takes them."""
    return {
        stack.value: (
            max(call.layer for call in trace.of_stack(stack)) + 1,
            max(call.heads for call in trace.of_stack(stack)),
        )
        for stack in trace.stacks
    }


def head_groups(trace: Trace) -> dict[str, tuple[int, ...]]:
    """Query heads that read the same key head, for each layer of each stack, as `parse_head_mask` takes them."""
    groups: dict[str, tuple[int, ...]] = {}
    for stack, (layers, _) in head_shapes(trace).items():
        of_layer = {call.layer: call.heads // call.key_heads for call in trace.calls if call.stack.value == stack}
        groups[stack] = tuple(of_layer.get(layer, 1) for layer in range(layers))
    return groups


def _recorder(model: PreTrainedModel, batch: Batch, card: ModelCard, calling: Calling) -> Recorder:
    sides = [batch] if batch.decoder is None else [batch, batch.decoder]
    lengths = {side.length for side in sides} | {*calling.parts} | {*calling.ends}
    expected = Expected(batch.rows, frozenset(lengths), frozenset(card.heads))
    return Recorder(
        expected,
        part=calling.shown - 1 if calling.filled else -1,
        weightless=is_weightless(model),
        towers=towers_of(model),
        shards=shards_of(model),
    )


def _plainly(model: PreTrainedModel, inputs: Inputs, card: ModelCard, calling: Calling) -> Sequence[Any]:
    with torch.no_grad(), evaluating(model), same_randomness(), explained(card, "fails on this input"):
        return called(model, inputs, calling)


def _listening(
    model: PreTrainedModel,
    inputs: Inputs,
    recorder: Recorder,
    card: ModelCard,
    calling: Calling,
    seed: int | None = None,
) -> Sequence[Any]:
    what = "cannot be run without weights" if recorder.weightless else "runs plainly, but not while it is listened to"
    inputs = for_hand_written(model, inputs)
    with ExitStack() as block:
        block.enter_context(explained(card, what))
        block.enter_context(torch.no_grad())
        block.enter_context(same_randomness())
        block.enter_context(listening(model, recorder))
        if recorder.weightless:
            block.enter_context(Shadow(seed))
        return called(model, inputs, calling)


def _heard(
    model: PreTrainedModel, inputs: Inputs, batch: Batch, card: ModelCard, calling: Calling
) -> tuple[Recorder, Sequence[Any]]:
    """Listen; once more where the model put other modules in place of its own, which were not listened to."""
    before = {id(module) for module in model.modules()}
    recorder = _recorder(model, batch, card, calling)
    captured = _listening(model, inputs, recorder, card, calling)
    if {id(module) for module in model.modules()} != before:
        recorder = _recorder(model, batch, card, calling)
        captured = _listening(model, inputs, recorder, card, calling)
    return recorder, captured


def _without_content(hearing: Hearing, asked: _Pass, heard: Recorder) -> Hearing:
    """Take out the calls whose masks depend on what the weights would have made of the text.

    Masks that came from transformers' own functions are made of lengths and inputs. All others are made twice, from
    different random numbers, and kept where they are the same.
    """
    if hearing.from_library:
        return hearing
    runs = []
    for seed in (0, 1):
        recorder = _recorder(asked.model, asked.batch, asked.card, asked.calling)
        recorder = replace(recorder, own_masks=heard.own_masks)
        _listening(asked.model, asked.inputs, recorder, asked.card, asked.calling, seed=seed)
        runs.append(hearing_of(recorder, asked.batch, asked.card, asked.calling))
    return runs[0].where_same_as(runs[1])


def _outputs(captured: Sequence[Any], trace: Trace, model: PreTrainedModel, calling: Calling) -> Outputs | None:
    causal = trace.batch.decoder is not None or (bool(trace.calls) and trace.calls[-1].stack is Stack.DECODER)
    if not trace.calls:
        causal = "CausalLM" in trace.card.architecture or "LMHead" in trace.card.architecture
    independent = getattr(model.config, "problem_type", None) == "multi_label_classification"
    labels = _labels(model)
    return kept_outputs(
        captured, trace.batch, offset=calling.offset, causal=causal, labels=labels, independent=independent
    )


def _labels(model: PreTrainedModel) -> tuple[str, ...]:
    names = getattr(model.config, "id2label", None) or {}
    return tuple(str(names[index]) for index in sorted(names))
