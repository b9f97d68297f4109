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
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray
from maskviz.core.errors import UsageError
from maskviz.core.masks import Delivery
from maskviz.core.results import CallProof, FutureProof, Proof
from maskviz.core.trace import AttentionCall, Batch, Trace
from maskviz.core.words import Stack
from maskviz.trace.calling import Calling, Inputs, called
from maskviz.trace.doors import to_array
from maskviz.trace.handwritten import SDPA_PARAMETERS, SOFTMAX, module_path_hooks
from maskviz.trace.outputs import joined_output
from maskviz.trace.raised import explained
from maskviz.trace.randomness import same_randomness
from maskviz.trace.recorder import Expected, Recorder
from maskviz.trace.shadow import is_weightless
from maskviz.trace.taps import evaluating

# One backward pass for each query of each call: beyond this it takes minutes.
MOST_TOKENS = 512
# Share of the outputs' size below which a difference is rounding.
_ROUNDING = 1e-5
_MIXING = {torch.matmul, torch.bmm, torch.Tensor.matmul, torch.Tensor.bmm, torch.Tensor.__matmul__}
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
        raise UsageError("--prove runs the model, and there are no weights", "try --random-weights 0")
    longest = max(side.length for side in (trace.batch, trace.batch.decoder or trace.batch))
    if longest > MOST_TOKENS:
        raise UsageError(f"--prove takes up to {MOST_TOKENS} tokens, there are {longest}", "cut it: --max-length")
    gradients = _gradients(model, inputs, trace)
    turns: dict[str, int] = {}
    calls = []
    for call in trace.calls:
        turn = turns.get(call.module, 0)
        turns[call.module] = turn + 1
        calls.append(_compared(call, gradients.get((call.module, turn)), trace))
    return Proof(tuple(calls), _future(model, inputs, trace))


def _gradients(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> Gradients:
    sides = [trace.batch] if trace.batch.decoder is None else [trace.batch, trace.batch.decoder]
    recorder = Recorder(Expected(trace.batch.rows, frozenset(side.length for side in sides), frozenset()))
    listener = _ValueListener(recorder, {call.module for call in trace.calls})
    with (
        explained(trace.card, "fails while it is proven"),
        torch.no_grad(),
        evaluating(model),
        same_randomness(),
        module_path_hooks(model, recorder),
        listener,
    ):
        called(model, inputs, Calling())
    return listener.found


class _ValueListener(TorchFunctionMode):
    """Finds where attention mixes its values, and asks for the gradient there."""

    def __init__(self, recorder: Recorder, paths: set[str]) -> None:
        super().__init__()
        self.found: Gradients = {}
        self._recorder = recorder
        self._paths = paths
        self._turns: dict[str, int] = {}
        self._weights: dict[int, torch.Tensor] = {}  # what was made of a softmax, by id; kept so that ids stay theirs

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        positional: tuple[Any, ...] = (),
        arguments: dict[str, Any] | None = None,
    ) -> Any:
        del types
        arguments = arguments or {}
        path = self._recorder.attending if self._recorder.module_paths else ""
        if path not in self._paths:
            return function(*positional, **arguments)
        if function is torch.nn.functional.scaled_dot_product_attention:
            return self._attention(function, positional, arguments, path)
        if positional and id(positional[0]) in self._weights and function in _MIXING:
            self._mixed(path, positional[0], positional[1])
            return function(*positional, **arguments)
        if function is torch.einsum and len(positional) == 3 and id(positional[1]) in self._weights:
            value = _einsum_mixed(positional[0], positional[1], positional[2])
            if value is not None:
                self._mixed(path, positional[1], value)
            return function(*positional, **arguments)
        result = function(*positional, **arguments)
        if function in SOFTMAX or self._is_made_of_weights(positional, result):
            self._weights[id(result)] = result
        return result

    def _is_made_of_weights(self, positional: tuple[Any, ...], result: Any) -> bool:
        """Whether a function did no more to weights than to scale, cast or cut them (a sink's column)."""
        first = positional[0] if positional else None
        return (
            isinstance(result, torch.Tensor)
            and isinstance(first, torch.Tensor)
            and id(first) in self._weights
            and result.ndim >= 3
            and result.is_floating_point()
        )

    def _attention(
        self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any], path: str
    ) -> torch.Tensor:
        given = dict(zip(SDPA_PARAMETERS, positional, strict=False)) | arguments
        query, key, value = (given[name].detach() for name in ("query", "key", "value"))
        with torch.enable_grad():
            value.requires_grad_()
            output: torch.Tensor = function(**{**given, "query": query, "key": key, "value": value})
        split = self._recorder.expected.split((*query.shape[:3], key.shape[-2])) if query.ndim == 4 else None
        if split is not None:
            self._keep(path, torch.stack([_seen(output, value, query) for query in range(output.shape[-2])], dim=-2))
        return output.detach()

    def _mixed(self, path: str, weights: torch.Tensor, value: torch.Tensor) -> None:
        """Keep where weights [..., query, key] times values [..., key, width] have a gradient."""
        split = self._recorder.expected.split(tuple(weights.shape))
        if split is None:
            return
        weights, value = weights.detach(), value.detach()
        with torch.enable_grad():
            value.requires_grad_()
            output = torch.matmul(weights, value)
        rows = [_seen(output, value, query) for query in range(output.shape[-2])]
        self._keep(path, torch.stack(rows, dim=-2).reshape(split[0], -1, *split[2:]))

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


def _einsum_mixed(equation: str, weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor | None:
    """Values of an einsum turned to [..., key, width], where weights are its first operand and their last axis is the
    key's; None where the equation says something else (XLNet writes "bnij,jbnd->ibnd")."""
    operands, _, result = equation.replace(" ", "").partition("->")
    first, _, second = operands.partition(",")
    key = first[-1]
    batch = [letter for letter in first[:-2] if letter in second]
    width = [letter for letter in second if letter not in first]
    if key not in second or len(width) != 1 or len(second) != len(batch) + 2 or key in result:
        return None
    order = [second.index(letter) for letter in (*batch, key, *width)]
    return value.permute(*order) if len(batch) == len(first) - 2 and weights.ndim == len(first) else None


def _compared(call: AttentionCall, seen: BoolArray | None, trace: Trace) -> CallProof:
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
    causal = own and not any(_sees_ahead(call) for call in own)
    side = trace.batch.decoder or trace.batch
    name = "decoder_input_ids" if trace.batch.decoder is not None else "input_ids"
    if not causal or name not in inputs or side.length < 2:
        return None
    last = _last_tokens(side)
    changed = inputs[name].clone()
    rows = torch.arange(len(last), device=changed.device)
    places = torch.as_tensor(last, device=changed.device)
    changed[rows, places] = _other_id(changed[rows, places], trace)
    with torch.no_grad(), evaluating(model), explained(trace.card, "fails on another last token"):
        with same_randomness():
            before = joined_output(called(model, inputs, Calling()))
        with same_randomness():
            after = joined_output(called(model, {**inputs, name: changed}, Calling()))
    if before is None or after is None or before.shape[:2] != side.ids.shape:
        return None
    moved = to_array((before.float() - after.float()).abs().amax(dim=-1))
    earlier = side.keep & (np.arange(side.length) < last[:, None])
    size = max(1.0, float(before.float().abs().max()))
    worst = float(moved[earlier].max(initial=0.0))
    return FutureProof(worst, worst <= _ROUNDING * size)


def _sees_ahead(call: AttentionCall) -> bool:
    """Whether the mask of a call shows any query a later key."""
    return bool(np.triu(call.mask.visible.any(axis=(0, 1)), k=1).any())


def _last_tokens(side: Batch) -> Any:
    """int64 [batch], position of each row's last real token."""
    return side.length - 1 - np.argmax(side.keep[:, ::-1], axis=1)


def _other_id(ids: torch.Tensor, trace: Trace) -> torch.Tensor:
    vocabulary = trace.card.vocabulary or int(ids.max()) + 2
    return torch.where(ids + 1 < vocabulary, ids + 1, ids - 1)
