"""Masks proven by the model's behaviour instead of by what was captured of it.

The model runs as it always runs, under its own attention implementation. Where an attention mixes its values, they are
made the start of a gradient: what query i puts out has a gradient with respect to the value of key j exactly if it
attends to j. And what a causal model says of earlier tokens must not move when the last one is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.errors import NoWeightsError, UsageError
from maskviz.core.results.results import CallProof, FutureProof, Proof
from maskviz.core.run.trace import AttentionCall, Batch, Delivery, Trace
from maskviz.core.words import Stack
from maskviz.core.writing import parameter
from maskviz.tracing.calling import (
    Calling,
    Inputs,
    called,
    explained,
    is_weightless,
    joined_output,
    same_randomness,
    to_array,
)
from maskviz.tracing.listen.mixing import MixingListener
from maskviz.tracing.listen.recorder import Expected, Recorder, shards_of
from maskviz.tracing.listen.taps import module_path_hooks
from maskviz.tracing.seam.implementations import evaluating

# One backward pass for each query of each call: beyond this it takes minutes.
MOST_TOKENS = 512
# Share of the outputs' size below which a difference is rounding.
_ROUNDING = 1e-5
Gradients = dict[tuple[str, int], BoolArray]


def prove(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> Proof:
    """Compare what a traced model may see with what it does see.

    Args:
        model, inputs: As given to `run`, called at once.
        trace: What `run` returned for them.

    Raises:
        UsageError: the model has no weights, or the text is too long.
        CannotTraceError: the model fails on its own.
    """
    if is_weightless(model):
        raise NoWeightsError(f"{parameter('prove')} follows numbers", trace.card.note)
    longest = max(side.length for side in (trace.batch, trace.batch.decoder or trace.batch))
    if longest > MOST_TOKENS:
        raise UsageError(
            f"{parameter('prove')} takes up to {MOST_TOKENS} tokens, there are {longest}",
            f"cut it: {parameter('max_length')}",
        )
    gradients = _gradients(model, inputs, trace)
    turns: dict[str, int] = {}
    calls = []
    for call in trace.calls:
        turn = turns.get(call.module, 0)
        turns[call.module] = turn + 1
        calls.append(compared(call, gradients.get((call.module, turn)), trace))
    return Proof(tuple(calls), _future(model, inputs, trace))


def _gradients(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> Gradients:
    sides = [trace.batch] if trace.batch.decoder is None else [trace.batch, trace.batch.decoder]
    recorder = Recorder(Expected(trace.batch.rows, frozenset(side.length for side in sides), frozenset()))
    listener = _ValueListener(recorder, frozenset(call.module for call in trace.calls))
    shards = shards_of(model)
    with (
        explained(trace.card, "fails while it is proven"),
        torch.no_grad(),
        evaluating(model),
        same_randomness(),
        module_path_hooks(model, recorder),
        listener,
    ):
        called(model, inputs, Calling())
    return {place: shards.whole(place[0], seen, axis=1) for place, seen in listener.found.items()}


class _ValueListener(MixingListener):
    """Asks for the gradient where attention mixes its values."""

    def __init__(self, recorder: Recorder, paths: frozenset[str]) -> None:
        super().__init__(recorder, paths)
        self.found: Gradients = {}
        self._turns: dict[str, int] = {}

    def attended(self, path: str, attend: Callable[..., torch.Tensor], given: dict[str, Any]) -> torch.Tensor:
        """Keep where each query of a fused attention has a gradient."""
        query, key, value = (given[name].detach() for name in ("query", "key", "value"))
        with torch.enable_grad():
            value.requires_grad_()
            output = attend(**{**given, "query": query, "key": key, "value": value})
        split = self.recorder.expected.split((*query.shape[:3], key.shape[-2])) if query.ndim == 4 else None
        if split is not None:
            self._keep(path, torch.stack([_seen(output, value, query) for query in range(output.shape[-2])], dim=-2))
        return output.detach()

    def mixed(self, path: str, weights: torch.Tensor, values: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Keep where weights times values have a gradient."""
        split = self.recorder.expected.split(tuple(weights.shape))
        if split is None:
            return output
        weights, values = weights.detach(), values.detach()
        with torch.enable_grad():
            values.requires_grad_()
            again = torch.matmul(weights, values)
        rows = [_seen(again, values, query) for query in range(again.shape[-2])]
        self._keep(path, torch.stack(rows, dim=-2).reshape(split[0], -1, *split[2:]))
        return output

    def _keep(self, path: str, seen: torch.Tensor) -> None:
        turn = self._turns.get(path, 0)
        self._turns[path] = turn + 1
        self.found[path, turn] = to_array(seen)


def _seen(output: torch.Tensor, value: torch.Tensor, query: int) -> torch.Tensor:
    """bool [..., key]: whether what one query puts out, [..., query, width], has a gradient at each key's value."""
    with torch.enable_grad():
        one = output[..., query, :].sum()
    (gradient,) = torch.autograd.grad(one, value, retain_graph=True)
    return (gradient != 0).any(dim=-1)


def compared(call: AttentionCall, seen: BoolArray | None, trace: Trace) -> CallProof:
    """What a call's mask says beside where its queries have gradients, bool [batch, head or 1, query, key]."""
    if call.mask.delivery is Delivery.WEIGHTS:
        return CallProof(call, None, "laid out by unit values, which weights times random values confirmed")
    if seen is None:
        return CallProof(call, None, "its values were not found where it mixes them")
    batch, _, queries, keys = call.mask.visible.shape
    if seen.shape[2:] != (queries, keys):
        return CallProof(call, None, "it mixes values on other axes")
    heads = seen.shape[1]
    of_heads = np.broadcast_to(call.mask.visible, (batch, call.heads, queries, keys))
    visible = np.asarray(of_heads.reshape(batch, heads, call.heads // heads, queries, keys).any(axis=2))
    differs: BoolArray = np.asarray(seen != visible) & trace.real_queries(call)[:, None, :, None]
    small = np.zeros_like(differs)
    if call.pattern is not None:
        weights = call.pattern.reshape(batch, heads, call.heads // heads, queries, keys).max(axis=2)
        small = differs & visible & (weights < np.finfo(np.float32).tiny)
    return CallProof(call, np.argwhere(differs & ~small), "", int(small.sum()))


def _future(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> FutureProof | None:
    """Change each text's last token and see whether anything earlier moves; None for a model that is not causal."""
    own = [call for call in trace.calls if call.stack is Stack.DECODER]
    if not own or any(_sees_ahead(call) for call in own):
        return None
    moved = moved_by_last_token(model, inputs, trace)
    return None if moved is None else FutureProof(moved[0], moved[0] <= _ROUNDING * moved[1])


def moved_by_last_token(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> tuple[float, float] | None:
    """`moved_by_token` for each text's last real token."""
    return moved_by_token(model, inputs, trace, last_tokens(trace.batch.decoder or trace.batch))


def moved_by_token(
    model: PreTrainedModel, inputs: Inputs, trace: Trace, places: IntArray
) -> tuple[float, float] | None:
    """Change one token of each text, of the decoder where there is one.

    Args:
        model, inputs, trace: The model, and the run of it.
        places: int64 [batch], which.

    Returns:
        Largest change of an output before that token, and the size of the outputs, at least 1; None where there are
        no ids, no earlier tokens, or no output for each of them.

    Raises:
        CannotTraceError: the model fails on the changed text.
    """
    side = trace.batch.decoder or trace.batch
    name = "decoder_input_ids" if trace.batch.decoder is not None else "input_ids"
    if name not in inputs or side.length < 2:
        return None
    changed = inputs[name].clone()
    rows = torch.arange(len(places), device=changed.device)
    own = torch.as_tensor(places.copy(), device=changed.device)
    changed[rows, own] = other_ids(changed[rows, own], trace)
    with torch.no_grad(), evaluating(model), explained(trace.card, "fails on another token"):
        with same_randomness():
            before = joined_output(called(model, inputs, Calling()))
        with same_randomness():
            after = joined_output(called(model, {**inputs, name: changed}, Calling()))
    if before is None or after is None or before.shape[:2] != side.ids.shape:
        return None
    moved = to_array((before.float() - after.float()).abs().amax(dim=-1))
    earlier = side.keep & (np.arange(side.length) < places[:, None])
    return float(moved[earlier].max(initial=0.0)), max(1.0, float(before.float().abs().max()))


def _sees_ahead(call: AttentionCall) -> bool:
    """Whether the mask of a call shows any query a later key."""
    return bool(np.triu(call.mask.visible.any(axis=(0, 1)), k=1).any())


def last_tokens(side: Batch) -> IntArray:
    """int64 [batch], position of each row's last real token."""
    return np.asarray(side.length - 1 - np.argmax(side.keep[:, ::-1], axis=1))


def other_ids(ids: torch.Tensor, trace: Trace) -> torch.Tensor:
    """Another id of the vocabulary for each."""
    vocabulary = trace.card.vocabulary or int(ids.max()) + 2
    return torch.where(ids + 1 < vocabulary, ids + 1, ids - 1)
