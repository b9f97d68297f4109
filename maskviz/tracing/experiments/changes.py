"""Runs with one thing changed at a time: padding, positions, later tokens, types; and the passes they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.checks.case import PaddedText, Tried
from maskviz.core.errors import CannotTraceError
from maskviz.core.run.trace import Batch, ModelCard, Trace
from maskviz.tracing.calling import Calling, Inputs, called, explained, joined_output, same_randomness, to_array
from maskviz.tracing.experiments.prove import last_tokens, moved_by_token, other_ids
from maskviz.tracing.meaning.evidence import MOST_COPIED, SHORT, widened
from maskviz.tracing.run import run
from maskviz.tracing.seam.implementations import evaluating, running


@dataclass(slots=True)
class Passes:
    """Forward passes that were begun."""

    count: int = 0

    def begun(self, *_: Any) -> None:
        """One more, as a hook before a forward."""
        self.count += 1


_COUNTED: WeakKeyDictionary[torch.nn.Module, Passes] = WeakKeyDictionary()


@contextmanager
def counted_passes(model: torch.nn.Module) -> Iterator[Passes]:
    """Count the forward passes of a model, and of copies made of it meanwhile, in the block."""
    _COUNTED[model] = passes = Passes()
    handle = model.register_forward_pre_hook(passes.begun)
    try:
        yield passes
    finally:
        handle.remove()
        del _COUNTED[model]


def counted_as(model: torch.nn.Module, other: torch.nn.Module) -> None:
    """Count the passes of another model, built in place of one, among those of that one, if they are counted."""
    if model in _COUNTED:
        other.register_forward_pre_hook(_COUNTED[model].begun)


def leak(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> float | None:
    """Change a token of each text that an earlier query may see, the last one where the masks show none.

    Returns:
        Largest change of an output before that token; None where there are no ids, or no output for each token.

    Raises:
        CannotTraceError: the model fails on the changed text.
    """
    moved = moved_by_token(model, inputs, trace, _seen_ahead(trace))
    return None if moved is None else moved[0]


def _seen_ahead(trace: Trace) -> IntArray:
    """int64 [batch], the last key of each text that a real query before it may see; its last real token where no mask
    shows such a key."""
    side = trace.batch.decoder or trace.batch
    places = last_tokens(side)
    for row in range(side.rows):
        ahead = np.zeros(side.length, np.bool_)
        for call in trace.calls:
            if all(one is side for one in trace.sides(call)) and call.mask.visible.shape[2:] == (
                side.length,
                side.length,
            ):
                seen = np.triu(call.mask.visible[row].any(axis=0), k=1)
                ahead |= seen[side.keep[row]].any(axis=0) & side.keep[row]
        if ahead.any():
            places[row] = np.flatnonzero(ahead)[-1]
    return places


def leak_tried(model: PreTrainedModel, inputs: Inputs, trace: Trace, implementation: str) -> tuple[Tried, ...]:
    """Change what may make a model see its next token, one thing at a time, and ask again how far it does.

    A mask of four axes is turned round, where it may be upside down, and joined with the triangle; without one, the
    config's `is_decoder` is set, no cache is kept, and eager attention is run.

    Returns:
        The changes that the model could be run with, the smallest first.
    """
    tried: list[Tried] = []
    mask = inputs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.ndim == 4:
        for change, other in _other_masks(mask):
            _try(tried, change, partial(leak, model, {**inputs, "attention_mask": other}, trace))
        return tuple(tried)
    if getattr(model.config, "is_decoder", None) is False and model.num_parameters() <= MOST_COPIED:
        _try(tried, "is_decoder=True in the config", lambda: leak(_as_decoder(model, trace), inputs, trace))
    parameters = inspect.signature(model.forward).parameters
    ids = inputs.get(model.main_input_name)
    if "token_type_ids" in parameters and "token_type_ids" not in inputs and isinstance(ids, torch.Tensor):
        types = {**inputs, "token_type_ids": torch.zeros_like(ids)}
        _try(tried, "token_type_ids, all 0", partial(leak, model, types, trace))
    takes_cache = "use_cache" in parameters
    if takes_cache and inputs.get("use_cache") is not False and inputs.get("past_key_values") is None:
        _try(tried, "use_cache=False", partial(leak, model, {**inputs, "use_cache": False}, trace))
    if implementation != "eager":
        with running(model, "eager"):
            _try(tried, "attn_implementation='eager'", partial(leak, model, inputs, trace))
    return tuple(tried)


def _try(tried: list[Tried], change: str, ask: Callable[[], float | None]) -> None:
    """Ask with a change, where the model can be run so."""
    try:
        left = ask()
    except CannotTraceError:
        return
    if left is not None:
        tried.append(Tried(change, left))


def _other_masks(mask: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """A mask the other way round, where that shows every query its own key and no later one; and joined with the
    triangle that ends at the last key."""
    queries, keys = mask.shape[-2:]
    rows = keys if queries == 1 else queries
    causal = torch.ones(rows, keys, dtype=torch.bool, device=mask.device).tril(keys - rows)
    own = causal & ~causal.tril(keys - rows - 1)
    if queries == keys and _is_causal(mask.mT, causal, own):
        yield "mask.mT", mask.mT.contiguous()
    if mask.dtype == torch.bool and not (~mask & ~causal).any() and not (mask & own).any():
        yield "~mask", ~mask
    yield "mask & causal", hidden_where(mask.expand(*mask.shape[:2], rows, keys), ~causal)


def _is_causal(mask: torch.Tensor, causal: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether a mask shows every query its own key and no later one."""
    shown = mask if mask.dtype == torch.bool else mask > -1
    return not bool((shown & ~causal).any()) and bool((shown | ~own).all())


def hidden_where(mask: torch.Tensor, blocked: torch.Tensor) -> torch.Tensor:
    """A mask [batch or 1, head or 1, query, key] that also blocks the cells that are True in `blocked`."""
    if mask.is_floating_point():
        return mask.masked_fill(blocked, torch.finfo(mask.dtype).min)
    return torch.where(blocked, torch.zeros((), dtype=mask.dtype, device=mask.device), mask)


def _as_decoder(model: PreTrainedModel, trace: Trace) -> PreTrainedModel:
    """The same class and weights, built as a decoder: layers look at the config when they are built.

    Raises:
        CannotTraceError: the class cannot be built so.
    """
    config = deepcopy(model.config)
    config.is_decoder = True
    with same_randomness(), explained(trace.card, "is not built as a decoder"):
        other: PreTrainedModel = type(model)(config)
    other.load_state_dict(model.state_dict(), strict=False)
    counted_as(model, other)
    torch.nn.Module.to(other, device=model.device, dtype=model.dtype)
    return other


# Share of the outputs' size below which two runs of other shapes may round differently.
ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def padded_texts(model: PreTrainedModel, inputs: Inputs, trace: Trace, predicts_next: bool) -> tuple[PaddedText, ...]:
    """Run every padded text of a batch alone, without its padding, and compare the outputs of its real tokens.

    Args:
        model: The model.
        inputs: As the batch is handed over, with or without a mask of [batch, token] and position ids.
        trace: The run of it.
        predicts_next: Whether the outputs are logits of the next token.

    Returns:
        One for each text with padding and with something else; none where inputs do not run along the tokens (images).
        A mask of four axes among the inputs is cut with its text.
    """
    batch = trace.batch
    if batch.documents is not None or not _along_tokens(inputs, batch):
        return ()
    rows = [row for row in range(batch.rows) if not _keeps(batch, row).all() and batch.keep[row].any()]
    if not rows:
        return ()
    ways = _ways(model, inputs, batch)
    outputs = {name: _output(model, way, trace) for name, way in ways.items()}
    return tuple(
        one for row in rows if (one := _padded_text(model, (inputs, outputs), trace, row, predicts_next)) is not None
    )


def output_size(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> tuple[float, float]:
    """The largest absolute output on real tokens, and the share of it below which a difference is rounding."""
    output = _output(model, inputs, trace)
    if output is None:
        return 1.0, 1e-3
    found = output.float().abs().nan_to_num(0.0, 0.0, 0.0)
    return float(found.max()) if found.numel() else 1.0, ROUNDING.get(output.dtype, 1e-3)


def drifts_by_rounding(model: PreTrainedModel, inputs: Inputs, trace: Trace, size: float) -> bool:
    """Whether a drift comes from computing in 16 bits: the same weights in float32 do not have it.

    Args:
        model: The model; it is copied.
        inputs: As the batch is handed over.
        trace: The run of it.
        size: The largest absolute output.

    Returns:
        Also False where the model computes in 32 bits anyway, or is too large to be copied.
    """
    if model.dtype not in SHORT or model.num_parameters() > MOST_COPIED:
        return False
    drift = run(deepcopy(model).float(), widened(inputs), trace.batch, trace.card).drift
    return drift is not None and drift <= ROUNDING[torch.float32] * max(1.0, size)


def returns_weights(model: PreTrainedModel, inputs: Inputs, card: ModelCard) -> bool:
    """Whether the model, asked for attention weights as its config asks, returns a map for every layer it returns.

    Raises:
        CannotTraceError: it fails where it is asked for them.
    """
    with torch.no_grad(), evaluating(model), same_randomness(), explained(card, "returns no weights"):
        (returned,) = called(model, {**inputs, "output_attentions": True}, Calling())
    names = ("attentions", "encoder_attentions", "decoder_attentions")
    found = [one for name in names if (one := getattr(returned, name, None)) is not None]
    maps = [one for several in found for one in several]
    return bool(maps) and all(isinstance(one, torch.Tensor) for one in maps)


def moved_by_first_text(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> float | None:
    """Give the first of the texts packed into each row other tokens.

    Returns:
        Largest change of an output of a token of another text; None where nothing is packed, or there are no ids or no
        output for each token.

    Raises:
        CannotTraceError: the model fails on the changed text.
    """
    batch, ids = trace.batch, inputs.get(model.main_input_name)
    if batch.documents is None or not isinstance(ids, torch.Tensor) or ids.shape != batch.ids.shape:
        return None
    first = batch.documents == np.where(batch.keep, batch.documents, np.iinfo(np.int64).max).min(axis=1, keepdims=True)
    changed = torch.where(torch.as_tensor(first & batch.keep, device=ids.device), other_ids(ids, trace), ids)
    with torch.no_grad(), evaluating(model), explained(trace.card, "fails on another first text"):
        outputs = []
        for one in (ids, changed):
            with same_randomness():
                outputs.append(joined_output(called(model, {**inputs, model.main_input_name: one}, Calling())))
    before, after = outputs
    if before is None or after is None or before.shape[:2] != batch.ids.shape:
        return None
    moved = to_array((before.float() - after.float()).abs().reshape(*before.shape[:2], -1).amax(dim=-1))
    return float(moved[batch.keep & ~first].max(initial=0.0))


def moved_by_positions(model: PreTrainedModel, inputs: Inputs, trace: Trace, positions: IntArray) -> float | None:
    """Give the tokens other positions.

    Args:
        model, inputs, trace: The model, and the run of it.
        positions: int64 [batch, token].

    Returns:
        Largest change of an output of a real token; None where the model takes none, or has no such output.
    """
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return None
    ids = inputs.get("position_ids", inputs.get(model.main_input_name))
    device = ids.device if isinstance(ids, torch.Tensor) else model.device
    other = {**inputs, "position_ids": torch.as_tensor(positions.copy(), device=device)}
    before, after = (_output(model, one, trace) for one in (inputs, other))
    if before is None or after is None or before.shape != after.shape or before.shape[:2] != trace.batch.ids.shape:
        return None
    moved = to_array((before.float() - after.float()).abs().reshape(*before.shape[:2], -1).amax(dim=-1))
    return float(moved[trace.batch.keep].max(initial=0.0))


def broken_padding(model: PreTrainedModel, trace: Trace) -> tuple[int, ...]:
    """Ids that stand where the batch has padding and whose embeddings are not numbers.

    Raises:
        CannotTraceError: the model's class does not give its embeddings.
    """
    try:
        table = getattr(model.get_input_embeddings(), "weight", None)
    except (NotImplementedError, AttributeError) as error:
        raise CannotTraceError(f"{trace.card.architecture} does not give its input embeddings") from error
    ids = np.unique(trace.batch.ids[~trace.batch.keep])
    if not isinstance(table, torch.Tensor) or table.device.type == "meta" or not len(ids):
        return ()
    known = ids[ids < len(table)]
    rows = table[torch.as_tensor(known.copy(), device=table.device)]
    finite = torch.isfinite(rows).all(dim=-1).tolist()
    return tuple(int(one) for one, good in zip(known, finite, strict=True) if not good)


def _ways(model: PreTrainedModel, inputs: Inputs, batch: Batch) -> dict[str, Inputs]:
    """The batch as it is, with a mask of its padding where it has another or none, and with positions of its own."""
    keep = torch.as_tensor(np.array(batch.keep, dtype=np.int64), device=_ids(inputs).device)
    own = inputs.get("attention_mask")
    ways: dict[str, Inputs] = {"given": inputs}
    masked = inputs
    if isinstance(own, torch.Tensor) and own.ndim == 4:
        masked = {**inputs, "attention_mask": hidden_where(own, keep[:, None, None, :] == 0)}
    elif own is None or not torch.equal(own.to(keep.dtype), keep):
        masked = {**inputs, "attention_mask": keep}
    if masked is not inputs and (own is None or not torch.equal(masked["attention_mask"], own)):
        ways["masked"] = masked
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    counted = (keep.cumsum(dim=1) - 1).clamp(min=0)
    given = inputs.get("position_ids")
    if takes_positions and batch.decoder is None and not batch.keep[:, 0].all():
        off = given is None or (given.shape == counted.shape and bool(((given != counted) & (keep != 0)).any()))
        if off:
            ways["counted"] = {**masked, "position_ids": counted}
    return ways


def _padded_text(
    model: PreTrainedModel,
    given: tuple[Inputs, Mapping[str, torch.Tensor | None]],
    trace: Trace,
    row: int,
    predicts_next: bool,
) -> PaddedText | None:
    inputs, outputs = given
    batch, side = trace.batch, trace.batch.decoder or trace.batch
    alone = _output(model, _alone(inputs, batch, row), trace)
    moved = {name: _moved(alone, output, side, row) for name, output in outputs.items()}
    if (own := moved.get("given")) is None:
        return None
    last = None
    output = outputs["given"]
    if predicts_next and output is not None and output.ndim == 3 and not side.keep[row, -1]:
        real = int(np.flatnonzero(side.keep[row])[-1])
        last = (int(output[row, -1].argmax()), int(output[row, real].argmax()))
    left = not batch.keep[row, 0]
    right = None
    if left and "counted" not in outputs:
        right = _moved(alone, _padded_right(model, inputs, trace, row), _side_alone(side, row), 0)
    return PaddedText(row, left, own, moved.get("masked"), moved.get("counted"), right, last)


def _padded_right(model: PreTrainedModel, inputs: Inputs, trace: Trace, row: int) -> torch.Tensor | None:
    """The outputs of one text with its padding behind it, for the text alone."""
    count = int((~trace.batch.keep[row]).sum())
    made = _alone(inputs, trace.batch, row)
    for name, value in made.items():
        if isinstance(value, torch.Tensor) and value.ndim == 2 and not name.startswith("decoder_"):
            filled = 0 if name == "attention_mask" else inputs[name][row, 0]  # what stands in front is padding
            made[name] = torch.cat(
                [value, torch.full((1, count), int(filled), dtype=value.dtype, device=value.device)], 1
            )
    output = _output(model, made, trace)
    if output is None or trace.batch.decoder is not None or output.ndim < 3:
        return output
    return output[:, : output.shape[1] - count]


def _side_alone(side: Batch, row: int) -> Batch:
    """One text of a side without its padding."""
    kept = np.flatnonzero(side.keep[row])
    return Batch(
        side.ids[row : row + 1, kept],
        side.keep[row : row + 1, kept],
        (tuple(side.tokens[row][place] for place in kept),),
        (tuple(side.roles[row][place] for place in kept),),
    )


def _moved(alone: torch.Tensor | None, output: torch.Tensor | None, side: Batch, row: int) -> float | None:
    """Largest difference of the outputs of one text's real tokens, or of its one output; None where none fit."""
    if alone is None or output is None or len(output) != side.rows:
        return None
    own = output[row].float()
    if output.ndim == 3 and output.shape[1] == side.length:
        own = own[torch.as_tensor(side.keep[row].copy(), device=output.device)]
    if own.shape != alone[0].shape or not own.numel():
        return None
    return float((own - alone[0].float()).abs().max())


def _alone(inputs: Inputs, batch: Batch, row: int) -> dict[str, Any]:
    """The inputs of one text without its padding."""
    made: dict[str, Any] = {}
    for name, value in inputs.items():
        if not isinstance(value, torch.Tensor):
            made[name] = value
            continue
        side = batch.decoder if name.startswith("decoder_") and batch.decoder is not None else batch
        kept = torch.as_tensor(side.keep[row].copy(), device=value.device)
        if name == "position_ids" and not side.keep[row, 0]:  # of the text alone, from 0 on
            own = value[row : row + 1][:, kept]
            made[name] = own - own[:, :1]
        elif name == "attention_mask" and value.ndim == 4:
            own = value[row % len(value)][None][..., kept]
            made[name] = own if own.shape[2] == 1 else own[:, :, kept]
        else:
            made[name] = value[row : row + 1][:, kept]
    return made


def _along_tokens(inputs: Inputs, batch: Batch) -> bool:
    """Whether every tensor is [batch, token, ...]."""
    lengths = {batch.length, batch.length if batch.decoder is None else batch.decoder.length}
    tensors = [
        one
        for name, one in inputs.items()
        if isinstance(one, torch.Tensor) and not (name == "attention_mask" and one.ndim == 4)
    ]
    return all(one.ndim >= 2 and one.shape[0] == batch.rows and one.shape[1] in lengths for one in tensors)


def _keeps(batch: Batch, row: int) -> BoolArray:
    decoder = () if batch.decoder is None else batch.decoder.keep[row]
    return np.concatenate([batch.keep[row], np.asarray(decoder, np.bool_)])


def _ids(inputs: Inputs) -> torch.Tensor:
    tensor: torch.Tensor = next(one for one in inputs.values() if isinstance(one, torch.Tensor))
    return tensor


def _output(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> torch.Tensor | None:
    try:
        with torch.no_grad(), evaluating(model), same_randomness(), explained(trace.card, "fails on this input"):
            return joined_output(called(model, inputs, Calling()))
    except CannotTraceError:  # a batch may run where one of its texts, or another way to call, does not
        return None
