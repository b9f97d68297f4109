"""The masks of the implementation a model runs, where the eager attention that is listened to would take others.

transformers leaves masks out that it takes for granted, and a fused kernel then goes by what the module says of itself:
PaliGemma's, asked with a text alone, sees everything under sdpa and what came before under eager.
"""

from __future__ import annotations

from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Backend
from maskviz.tracing.backends.handing import handed_by_call
from maskviz.tracing.calling import Calling, Inputs
from maskviz.tracing.listen.recorder import Captured, RawPlace, Recorder
from maskviz.tracing.seam.implementations import implementation_of


def own_masks(
    model: PreTrainedModel, inputs: Inputs, trace: Trace, calling: Calling, heard: Recorder
) -> dict[RawPlace, BoolArray]:
    """What calls let through under the implementation the model runs, bool [batch, 1 or head, query, key].

    Args:
        model, inputs, calling: As given to `run`.
        trace: What was heard, under eager attention.
        heard: The recorder that heard it.

    Returns:
        The calls in which real queries see other keys than was heard; none where the model runs eager attention, or
        where its implementation is none that is known here.
    """
    backend = implementation_of(_text_config(model))
    if backend not in set(Backend) - {Backend.EAGER}:
        return {}
    before = {_place(call): call for call in heard.calls}
    own: dict[RawPlace, BoolArray] = {}
    for call, handed in handed_by_call(model, inputs, trace, Backend(backend), calling):
        place = _place(call)
        if handed.visible is None or place not in before:
            continue
        if _differ(before[place].visible, handed.visible, trace):
            own[place] = handed.visible
    return own


def departure_note(trace: Trace, heard: Trace) -> tuple[str, ...]:
    """In which cells of real queries the masks drawn differ from those of eager attention, in a sentence."""
    groups: dict[tuple[int, int, str], list[AttentionCall]] = {}
    for call, before in zip(trace.calls, heard.calls, strict=True):
        real = trace.real_queries(call)[:, None, :, None]
        added = int((call.mask.visible & ~before.mask.visible & real).sum())
        lost = int((before.mask.visible & ~call.mask.visible & real).sum())
        if added or lost:
            groups.setdefault((added, lost, str(before.mask.rule)), []).append(call)
    said = []
    for (added, lost, rule), calls in groups.items():
        where = ", ".join(f"{call.stack} {call.layer}" for call in calls)
        shown = [f"shows {added} cells that eager attention blocks"] if added else []
        shown += [f"blocks {lost} cells that eager attention shows"] if lost else []
        who = trace.plain_attention or "the model's own implementation"
        said.append(f"{where}: drawn is what {who} does, which {' and '.join(shown)} ({rule})")
    return tuple(said)


def _text_config(model: PreTrainedModel) -> object:
    try:
        return model.config.get_text_config()
    except (AttributeError, ValueError):
        return model.config


def _place(call: Captured) -> RawPlace:
    return call.part, call.module, call.turn


def _differ(heard: BoolArray, own: BoolArray, trace: Trace) -> bool:
    if heard.shape[2:] != own.shape[2:]:
        return False
    differing = (heard != own).any(axis=(1, 3))  # [batch, query]
    sides = [trace.batch] if trace.batch.decoder is None else [trace.batch.decoder, trace.batch]
    side = next((one for one in sides if one.length == differing.shape[1]), None)
    return bool((differing if side is None else differing & side.keep).any())
