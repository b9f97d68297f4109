"""What a model itself says its attention was: the maps it returns, laid out as [batch, head, query, key]."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import AnyArray
from tools.own_layouts import LAYOUTS, attends

# Types and stacks that return the scores their softmax is taken of.
SCORES = {("squeezebert", ""), ("prophetnet", "encoder"), ("prophetnet", "cross")}
# Types that return something else in the place of attention: the mixed values.
VALUES = {"yoso", "mra"}
# Types that return their maps without the rows and columns of their prompt.
CUT = {"cpmant"}
# Types that attend to some blocks twice, and in the map they return write the second share over the first: rows that
# fall short of 1 there are compared by their cells alone.
OVERWRITTEN = {"big_bird", "bigbird_pegasus"}
RETURNED = "output_attentions"
MODULES = "what its attention modules return"
NOTHING = "nothing: it returns no attention"


@dataclass(frozen=True, slots=True, eq=False)
class OwnAttention:
    """A model's own attention.

    Attributes:
        maps: For each of "encoder", "decoder", "cross" (or "" for all of a model) the maps of its attention layers in
            order, float32 [batch, head, query, key]; None for a layer whose map cannot be laid out so.
        source: Where they come from: `RETURNED`, `MODULES` or `NOTHING`.
    """

    maps: dict[str, list[AnyArray | None]]
    source: str

    def smallest(self) -> float:
        """The smallest attention that is not zero, 1 where there is none."""
        return min((float(one[one > 0].min()) for one in self._known() if (one > 0).any()), default=1.0)

    def finite(self) -> bool:
        """Whether every value is a number."""
        return all(bool(np.isfinite(one).all()) for one in self._known())

    def shares(self) -> bool:
        """Whether every value is a share, from 0 to 1."""
        return all(bool((one >= 0).all() and (one <= 1.001).all()) for one in self._known())

    def _known(self) -> list[AnyArray]:
        return [one for maps in self.maps.values() for one in maps if one is not None]


def own_attention(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], model_type: str) -> OwnAttention:
    """Run an untapped eager model and lay out what it returns under `output_attentions`.

    Where its attention modules return more maps than the model passes on, as some composites do, or the model passes
    on none or something else, the modules' are taken, in the order they ran.
    """
    kept: list[torch.Tensor] = []
    shape = tuple(inputs[model.main_input_name].shape[:2])
    with torch.no_grad(), _modules_watched(model, kept, shape):
        returned: Any = model(**inputs, output_attentions=True)
    found = {stack: maps for stack, maps in _returned(returned).items() if maps}
    if model_type in VALUES:
        return OwnAttention({}, NOTHING)
    lengths = {stack: _length(inputs, stack) for stack in found}
    laid_out = {
        stack: [
            _laid_out(one, model, model_type, stack, layer, lengths[stack])
            for layer, one in enumerate(maps)
            if attends(model_type, model.config, layer)
        ]
        for stack, maps in found.items()
    }
    passed_on = {id(one) for maps in found.values() for one in maps}
    own = OwnAttention(laid_out, RETURNED)
    more = len(kept) > len(passed_on) and passed_on <= {id(one) for one in kept}
    if more or model_type in CUT or (kept and not own.shares()):
        return OwnAttention({"": [one.detach().float().numpy() for one in kept]}, MODULES)
    return own if laid_out and own.shares() else OwnAttention({}, NOTHING)


def _length(inputs: Mapping[str, torch.Tensor], stack: str) -> int:
    own = inputs["input_ids"] if "input_ids" in inputs else inputs["inputs"]
    ids = own if stack in ("", "encoder") else inputs.get("decoder_input_ids", own)
    return int(ids.shape[1])


def _returned(returned: Any) -> dict[str, list[torch.Tensor]]:
    """The maps in an output, by stack; where it has no field for them, those of the outputs inside it."""
    if not isinstance(returned, Mapping):
        return {}
    stacks = {"encoder": "encoder_attentions", "decoder": "decoder_attentions", "cross": "cross_attentions"}
    if returned.get("decoder_attentions") is not None or returned.get("encoder_attentions") is not None:
        return {stack: list(_flat(returned.get(field))) for stack, field in stacks.items()}
    if returned.get("attentions") is not None:
        return {"": list(_flat(returned["attentions"]))}
    inner = [_returned(one).get("", []) for one in returned.values()]
    return {"": [one for maps in inner for one in maps]}


def _flat(found: Any) -> Iterator[torch.Tensor]:
    """The maps in a tuple of them, whatever it is nested in; what has fewer than four axes is no map."""
    if isinstance(found, torch.Tensor):
        if found.ndim >= 4:
            yield found
    elif isinstance(found, tuple | list):
        for one in found:
            yield from _flat(one)
    elif isinstance(found, Mapping):  # Pegasus-X: the global tokens' own map, and that of the tokens
        yield from _flat(found["local"])


def _laid_out(
    returned: torch.Tensor, model: PreTrainedModel, model_type: str, stack: str, layer: int, length: int
) -> AnyArray | None:
    """One returned map as float32 [batch, head, query, key]."""
    if (model_type, stack) in SCORES:
        returned = returned.softmax(-1)
    array: AnyArray = returned.detach().float().numpy()
    layout = LAYOUTS.get((model_type, stack))
    return array if layout is None else layout(array, model.config, layer, length)


@contextmanager
def _modules_watched(model: PreTrainedModel, kept: list[torch.Tensor], batch: tuple[int, ...]) -> Iterator[None]:
    """Keep every map that a module returns beside its output while the block runs, once, in order."""

    def keep(output: Any) -> None:
        for one in output if isinstance(output, tuple | list) else ():
            if not isinstance(one, torch.Tensor) or not _is_map(one, batch[0]) or _within_tokens(one, batch):
                continue
            if not any(one is other for other in kept):
                kept.append(one)

    attentions = [module for module in model.modules() if "attention" in type(module).__name__.lower()]
    handles = [module.register_forward_hook(lambda _one, _given, output: keep(output)) for module in attentions]
    with ExitStack() as block:
        for name in sorted({type(module).__module__ for module in model.modules()}):
            block.enter_context(_function_watched(vars(sys.modules[name]), keep))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def _function_watched(names: dict[str, Any], keep: Callable[[Any], None]) -> Iterator[None]:
    """Hand what a file's own eager attention function returns to `keep`: a module may call it twice (DiffLlama)."""
    function = names.get("eager_attention_forward")
    if function is None:
        yield
        return

    def attention(*positional: Any, **named: Any) -> Any:
        output = function(*positional, **named)
        keep(output)
        return output

    names["eager_attention_forward"] = attention
    try:
        yield
    finally:
        names["eager_attention_forward"] = function


def _within_tokens(one: torch.Tensor, batch: tuple[int, ...]) -> bool:
    """Whether a map is of each token over what its layers made of it: tokens stand where heads do (Inkling 2)."""
    return batch[-1] == one.shape[1] != one.shape[2]


def _is_map(tensor: torch.Tensor, rows: int) -> bool:
    """Whether a tensor is [batch, head, query, key] whose rows are shares of at most 1."""
    if tensor.ndim != 4 or not tensor.is_floating_point() or tensor.shape[0] != rows or min(tensor.shape[-2:]) < 2:
        return False
    totals = tensor.sum(-1)
    return bool((tensor >= 0).all() and (totals <= 1.001).all() and (totals.amax() > 0.5))
