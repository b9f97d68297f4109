"""A model run under another attention backend's name, to hear what that backend would be handed.

The mask functions of the backend build its masks, with their skips as in real life, and the model's own branches on
the name are taken. Where an attention function would run, what it is handed is kept; then the run goes on with the
model's eager attention under the mask that is meant, so that each call is judged by itself and not by what an earlier
one made of its mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from maskviz.core.errors import CannotTraceError
from maskviz.core.run.handover import HandedCall, HandOver
from maskviz.core.run.trace import AttentionCall, Delivery, Trace
from maskviz.core.words import Backend, Stack
from maskviz.tracing.backends.kernels import Handed, Offered, added_cells, handed
from maskviz.tracing.calling import Calling, Inputs, called, explained, is_weightless, same_randomness
from maskviz.tracing.listen.recorder import Captured, Expected, Recorder, shards_of
from maskviz.tracing.listen.shadow import Shadow
from maskviz.tracing.listen.taps import for_hand_written, listening, module_path_hooks, nothing
from maskviz.tracing.meaning.hearing import hearing_of, towers_of
from maskviz.tracing.seam.implementations import (
    block_masks_not_compiled,
    evaluating,
    flash_instead,
    refusal_of,
    running,
)
from maskviz.tracing.seam.masks import (
    EAGER,
    attention_replaced,
    eager_attention_replaced,
    names_seen_by,
    uses_interface,
)

# Part of the text and path of the module; a module that attends more than once in a part has its turns in order.
_Place = tuple[int, str]


def hand_over(
    model: PreTrainedModel, inputs: Inputs, trace: Trace, backend: Backend, calling: Calling | None = None
) -> HandOver:
    """Run a traced model under a backend's name and return what the backend is handed for each call.

    The model's configs, files and transformers' registries are as they were afterwards, also when the model raises.

    Args:
        model, inputs: As given to `run`.
        trace: What `run` returned for them.
        backend: The backend asked about; neither it nor its device needs to be here.
        calling: As given to `run`.
    """
    calling = calling or Calling()
    refusal = refusal_of(model, backend)
    if refusal:
        return HandOver(backend, (), refusal)
    if not any(map(uses_interface, _own_modules(model))):
        return HandOver(backend, tuple(HandedCall(call, _BY_HAND, False, None) for call in trace.calls))
    try:
        stand_in = _asked(model, inputs, trace, backend, calling)
    except CannotTraceError as error:
        return HandOver(backend, (), error.message)
    heard = hearing_of(stand_in.recorder, trace.batch, trace.card, calling, trace).calls
    return HandOver(backend, _matched(trace, heard, stand_in, calling), notes=_notes(model, backend))


def handed_by_call(
    model: PreTrainedModel, inputs: Inputs, trace: Trace, backend: Backend, calling: Calling
) -> Iterator[tuple[Captured, Handed]]:
    """What a backend is handed for each call of each part, as the model makes them; none where it cannot be asked."""
    if refusal_of(model, backend) or not any(map(uses_interface, _own_modules(model))):
        return
    try:
        stand_in = _asked(model, inputs, trace, backend, calling)
    except CannotTraceError:
        return
    yield from zip(stand_in.recorder.calls, stand_in.words, strict=True)


def _asked(model: PreTrainedModel, inputs: Inputs, trace: Trace, backend: Backend, calling: Calling) -> _StandIn:
    stand_in = _StandIn(backend, _recorder(model, trace, calling), _meant(model, inputs, trace, calling))
    _run(model, inputs, trace, calling, stand_in)
    return stand_in


_BY_HAND = "nothing: attention written by hand, which is not on transformers' attention interface"


def _notes(model: PreTrainedModel, backend: Backend) -> tuple[str, ...]:
    instead = flash_instead(model)
    if backend is not Backend.FLASH or not instead:
        return ()
    return (f"{type(model).__name__} names {instead} as its flash attention: transformers runs it instead",)


def _own_modules(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The modules of a model that read tokens."""
    towers = towers_of(model)
    return [module for path, module in model.named_modules() if not _is_in(path, towers)]


def _is_in(path: str, towers: Sequence[str]) -> bool:
    return any(path == tower or path.startswith(f"{tower}.") for tower in towers)


def _recorder(model: PreTrainedModel, trace: Trace, calling: Calling) -> Recorder:
    return Recorder(
        Expected(trace.batch.rows, frozenset(), frozenset()),  # hand-written softmaxes are not asked for here
        part=calling.shown - 1 if calling.filled else -1,
        weightless=is_weightless(model),
        towers=towers_of(model),
        shards=shards_of(model),
    )


def _meant(
    model: PreTrainedModel, inputs: Inputs, trace: Trace, calling: Calling
) -> dict[_Place, list[torch.Tensor | None]]:
    """The masks that are meant, ready to be added, of every call of every part; empty where there are no weights."""
    recorder = _recorder(model, trace, calling)
    if recorder.weightless:
        return {}
    with (
        explained(trace.card, "fails on this input"),
        torch.no_grad(),
        same_randomness(),
        listening(model, recorder),
    ):
        called(model, for_hand_written(model, inputs), calling)
    meant: dict[_Place, list[torch.Tensor | None]] = {}
    for call in recorder.calls:
        meant.setdefault((call.part, call.module), []).append(call.source)
    return meant


@dataclass(slots=True)
class _StandIn:
    """What stands for a backend's attention function while the model runs.

    Attributes:
        backend: The backend.
        recorder: Where what it lets through is kept, as a run that was listened to.
        meant: The masks to go on with.
        words: What was handed over, in the order of the recorder's calls.
    """

    backend: Backend
    recorder: Recorder
    meant: dict[_Place, list[torch.Tensor | None]]
    words: list[Handed] = field(default_factory=list)

    def instead_of(self, forward: Callable[..., Any], paths: dict[int, str]) -> Callable[..., Any]:
        """An attention function that keeps what it is handed, and returns what the model's eager attention makes of
        the mask that is meant.

        Args:
            forward: The attention function it stands for.
            paths: Path of each module by its id.
        """

        def attention(
            module: torch.nn.Module,
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            attention_mask: Any,
            *positional: Any,
            **arguments: Any,
        ) -> Any:
            path = paths.get(id(module))
            if path is None or self.recorder.away or self.recorder.paused:
                return forward(module, query, key, value, attention_mask, *positional, **arguments)
            offered = Offered(module, query, key, value, attention_mask, arguments)
            with self.recorder.looking_away():
                self._keep(handed(self.backend, forward, offered), offered, path)
                source, eager = self._next_meant(path), names_seen_by(module).get(EAGER)
                eager = forward if self.backend is Backend.EAGER else eager
                if self.recorder.weightless or eager is None or not _fits(source, offered):
                    output, weights = nothing(query, key, value)
                else:
                    output, weights = eager(module, query, key, value, source, *positional, **arguments)
            return output, weights if self.backend is Backend.EAGER else None

        return attention

    def _next_meant(self, path: str) -> torch.Tensor | None:
        """The mask that is meant for the call a module makes now."""
        sources = self.meant.get((max(0, self.recorder.part), path))
        return sources.pop(0) if sources else None

    def _keep(self, one: Handed, offered: Offered, path: str) -> None:
        self.words.append(one)
        visible = added_cells(None, offered.shape) if one.visible is None else one.visible
        heads, key_heads = int(offered.query.shape[1]), int(offered.key.shape[1])
        delivery = Delivery.NOTHING if offered.mask is None else Delivery.ADDITIVE
        self.recorder.record(Captured(path, heads, key_heads, None, visible, None, None, delivery))


def _fits(mask: torch.Tensor | None, offered: Offered) -> bool:
    """Whether a mask is one of the tokens that are attended with: some models lay them out anew for a backend."""
    return mask is None or (mask.shape[-2] in (1, offered.shape[1]) and mask.shape[-1] >= offered.shape[2])


def _run(model: PreTrainedModel, inputs: Inputs, trace: Trace, calling: Calling, stand_in: _StandIn) -> None:
    recorder = stand_in.recorder
    towers = {path for path, _ in model.named_modules() if _is_in(path, recorder.towers)}
    with ExitStack() as block:
        block.enter_context(explained(trace.card, f"cannot be run under {stand_in.backend}"))
        block.enter_context(torch.no_grad())
        block.enter_context(same_randomness())
        block.enter_context(evaluating(model))
        block.enter_context(running(model, stand_in.backend.value, experts=recorder.weightless, besides=towers))
        block.enter_context(_standing_in(model, stand_in))
        block.enter_context(block_masks_not_compiled())
        block.enter_context(module_path_hooks(model, recorder))
        if recorder.weightless:
            block.enter_context(Shadow())
        called(model, inputs, calling)


def _standing_in(model: PreTrainedModel, stand_in: _StandIn) -> AbstractContextManager[None]:
    """A block with a stand-in where the files of a model's modules look for the backend's attention function."""
    paths = {id(module): path for path, module in model.named_modules()}
    if stand_in.backend is Backend.EAGER:
        return eager_attention_replaced(model, lambda original: stand_in.instead_of(original, paths))
    return attention_replaced(model, stand_in.backend.value, lambda original: stand_in.instead_of(original, paths))


def _matched(
    trace: Trace, heard: Sequence[AttentionCall], stand_in: _StandIn, calling: Calling
) -> tuple[HandedCall, ...]:
    """What was handed over for each call of a trace, found by its module and the turn it has there."""
    said: dict[tuple[str, int], list[Handed]] = {}
    for captured, one in zip(stand_in.recorder.calls, stand_in.words, strict=True):
        if captured.part >= calling.shown or _is_encoder(trace, captured.module):
            said.setdefault((captured.module, captured.turn), []).append(one)
    by_place = dict(zip(_places(heard), heard, strict=True))
    matched = []
    for place, call in zip(_places(trace.calls), trace.calls, strict=True):
        found = by_place.get(place)
        if found is None:
            matched.append(HandedCall(call, _BY_HAND, False, None))
            continue
        # A call of both self and cross attention is handed its mask once (T5Gemma 2).
        parts = said.get(place) or said.get((place[0], 0), [])
        words, masked = "; then ".join(dict.fromkeys(one.words for one in parts)), any(one.masked for one in parts)
        if found.mask.visible.shape[2:] != call.mask.visible.shape[2:]:
            matched.append(HandedCall(call, f"{words}, on axes of its own", masked, None))
        elif any(one.visible is None for one in parts):
            matched.append(HandedCall(call, words, masked, None))
        else:
            matched.append(HandedCall(call, words, masked, replace(found.mask, bias=None)))
    return tuple(matched)


def _is_encoder(trace: Trace, module: str) -> bool:
    return any(call.module == module and call.stack is Stack.ENCODER for call in trace.calls)


def _places(calls: Sequence[AttentionCall]) -> list[tuple[str, int]]:
    """Module path of each call and how often it had attended before."""
    turns: dict[str, int] = {}
    places = []
    for call in calls:
        turn = turns.get(call.module, 0)
        turns[call.module] = turn + 1
        places.append((call.module, turn))
    return places
