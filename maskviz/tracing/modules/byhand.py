"""Attention written by hand: a softmax over products of queries and keys whose result is multiplied with values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from maskviz.core.arrays import BoolArray
from maskviz.core.run.trace import Delivery
from maskviz.core.words import Dialect
from maskviz.tracing.calling import to_array, to_floats, visible_cells
from maskviz.tracing.modules.heard import HandedMask, Hearing, gates_along, let_through
from maskviz.tracing.seam.torch_names import is_learnt, is_mapped

SOFTMAX = frozenset({torch.softmax, functional.softmax, torch.Tensor.softmax, torch.special.softmax})
_PRODUCTS = frozenset(
    {torch.matmul, torch.bmm, torch.mm, torch.baddbmm, torch.einsum, torch.Tensor.matmul, torch.Tensor.bmm}
    | {torch.Tensor.mm, torch.Tensor.baddbmm, torch.Tensor.__matmul__, torch.Tensor.__rmatmul__}
)
_SUMS = frozenset(
    {torch.add, torch.Tensor.add, torch.Tensor.add_, torch.Tensor.__add__, torch.Tensor.__radd__}
    | {torch.Tensor.__iadd__}
)
# The softmax in two steps: its logarithm, or the powers before they are divided by their sum.
_LOGARITHMS = frozenset({torch.log_softmax, functional.log_softmax, torch.Tensor.log_softmax})
_POWERS = frozenset({torch.exp, torch.Tensor.exp, torch.Tensor.exp_})
_QUOTIENTS = frozenset(
    {torch.div, torch.true_divide, torch.Tensor.div, torch.Tensor.div_, torch.Tensor.true_divide}
    | {torch.Tensor.__truediv__, torch.Tensor.__itruediv__}
)
_FILLS = frozenset({torch.masked_fill, torch.Tensor.masked_fill, torch.Tensor.masked_fill_, torch.where})
# What makes something new of its tensors: what was known of them is not known of the result.
_ENDS = frozenset(
    {functional.linear, functional.embedding, functional.scaled_dot_product_attention}
    | {functional.layer_norm, functional.batch_norm, functional.group_norm, functional.instance_norm}
    | {functional.rms_norm, functional.conv1d, functional.conv2d, functional.conv3d}
)


@dataclass(frozen=True, slots=True, eq=False)
class _Product:
    """What a tensor is: scores of queries and keys, or made of them; its softmax once there is one.

    Attributes:
        scores: What the softmax was taken of, None where none was.
        weights: Its result, None likewise.
        axis: The axis it runs over, counted from the end (-1 is the last).
        masks: What was added to the scores.
        hidden: Cells of the scores, True = blocked, that something added to them leaves nothing of.
        learnt: Axes, counted from the end, along which lies what was learnt, such as the experts of a router: no keys.
        raised: Whether it is the powers of scores, not yet divided by their sum.
    """

    scores: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    axis: int = -1
    masks: tuple[HandedMask, ...] = ()
    hidden: tuple[torch.Tensor, ...] = ()
    learnt: frozenset[int] = frozenset()
    raised: bool = False


class ByHand:
    """Follows products of two tensors to a softmax, and that to the values it is multiplied with.

    Routers, pooling and classifiers have a softmax too: theirs is over what a linear map put out, or no values follow.
    """

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing
        self._known: dict[int, tuple[weakref.ref[torch.Tensor], _Product]] = {}

    def __call__(self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        """Call a function of torch, and note what its result is."""
        if function in _PRODUCTS:
            return self._product(function, positional, arguments)
        found = self._first_known((*positional, *arguments.values()))
        result = function(*positional, **arguments)
        if found is None or (function in _ENDS and not self._between_heads(function, positional)):
            return result
        if function in SOFTMAX or function in _LOGARITHMS:
            self._normalised(function, positional, arguments, (found, result))
            return result
        if function in _POWERS and found.weights is None:
            found = self._raised(positional, arguments, (found, result))
        elif function in _QUOTIENTS and found.raised and (axis := _axis_of_sum(*positional[:2])) is not None:
            found = replace(found, weights=result, axis=axis, raised=False)
        if function in _FILLS and found.weights is None:
            found = replace(found, masks=(*found.masks, *_filled(function, positional, arguments)))
        if function in _SUMS and found.weights is None:
            masks = tuple(self._added(positional))
            hidden = tuple(_hidden_by(one.tensor, result) for one in masks if one.tensor.is_floating_point())
            found = replace(found, masks=(*found.masks, *masks), hidden=(*found.hidden, *hidden))
        for tensor in _tensors(result):
            self._remember(tensor, found)
        return result

    def _between_heads(self, function: Callable[..., Any], positional: tuple[Any, ...]) -> bool:
        """Whether a linear map, or a convolution of single cells, is one between the heads of scores or weights, as
        talking heads have it (CaiT, x-transformers)."""
        if function not in (functional.linear, functional.conv2d) or len(positional) < 2:
            return False
        scores, weight = positional[:2]
        heads = scores.shape[-1] if function is functional.linear else scores.shape[-3]
        return scores.ndim > 3 and weight.numel() == heads**2 and heads in self._hearing.hinted()

    def _normalised(
        self,
        function: Callable[..., Any],
        positional: tuple[Any, ...],
        arguments: dict[str, Any],
        made: tuple[_Product, torch.Tensor],
    ) -> None:
        """Note a softmax of scores, or its logarithm; `made` is what was known of the scores, and the result."""
        found, result = made
        scores = positional[0] if positional else arguments["input"]
        axis = arguments.get("dim", positional[1] if len(positional) > 1 else -1)
        if axis is None or scores.ndim < 2:
            return
        axis = axis if axis < 0 else axis - scores.ndim
        if axis in found.learnt:
            self._hearing.unused("a softmax over what was learnt")
            return
        weights = result if function in SOFTMAX else None
        self._remember(result, _Product(scores, weights, axis, found.masks, found.hidden))

    def _raised(
        self, positional: tuple[Any, ...], arguments: dict[str, Any], made: tuple[_Product, torch.Tensor]
    ) -> _Product:
        """What powers are: weights where they are those of their logarithm, else what is left to be divided."""
        found, result = made
        if found.scores is not None and not found.raised:
            return replace(found, weights=result)
        scores = positional[0] if positional else arguments["input"]
        return replace(found, scores=result.log() if scores is result else scores, raised=True)

    def _added(self, summands: tuple[Any, ...]) -> Iterator[HandedMask]:
        """The tensors of scores' axes that are added to them and are no scores."""
        for one in summands:
            if isinstance(one, torch.Tensor) and one.ndim > 1 and self._of(one) is None:
                whole = one[None, None] if one.ndim == 2 else one[:, None] if one.ndim == 3 else one
                yield HandedMask("what is added to the scores", Dialect.HF_4D, whole)

    def _product(self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        operands = [*_operands(positional, arguments)]
        for tensor in operands:
            known = self._of(tensor)
            if known is not None and _is_of_heads(tensor, operands):
                result = function(*positional, **arguments)
                self._remember(result, known)
                return result
            if known is not None and known.weights is not None:
                return self._mixed(function, positional, arguments, (tensor, known))
        result = function(*positional, **arguments)
        if len(operands) > 1 and not any(isinstance(one, torch.nn.Parameter) for one in operands):
            self._remember(result, _Product(learnt=_learnt(_factors(function, positional, arguments))))
        return result

    def _mixed(
        self,
        function: Callable[..., Any],
        positional: tuple[Any, ...],
        arguments: dict[str, Any],
        at: tuple[torch.Tensor, _Product],
    ) -> Any:
        """Weights times values: an attention, where the product is over the axis of the softmax."""
        weights, known = at
        if is_mapped(weights):
            self._hearing.unused("attention inside torch.vmap, where no number can be read")
            return function(*positional, **arguments)
        factors = _factors(function, positional, arguments)
        order = None if factors is None else factors.order(weights)
        if order is None or factors is None or not _over_softmax(weights.permute(order.axes), known):
            self._hearing.unused("a softmax whose result is mixed along another axis")
            return function(*positional, **arguments)
        gate = self._hearing.gate()
        laid_out = weights.permute(order.axes)
        self._hearing.keep(
            "softmax",
            to_floats(laid_out),
            _visible(known, weights, order.axes),
            key_heads=order.key_heads,
            delivery=Delivery.ADDITIVE,
            masks=known.masks,
        )
        if gate is None:
            return function(*positional, **arguments)
        back = np.argsort(order.axes).tolist()
        gated = (laid_out * gates_along(gate, tuple(laid_out.shape[:-2]), laid_out)).permute(back)
        positional = tuple(_with(one, weights, gated) for one in positional)
        return function(*positional, **{name: _with(one, weights, gated) for name, one in arguments.items()})

    def _remember(self, tensor: torch.Tensor, what: _Product) -> None:
        key = id(tensor)
        self._known[key] = (weakref.ref(tensor, lambda _: self._known.pop(key, None)), what)

    def _of(self, tensor: torch.Tensor) -> _Product | None:
        found = self._known.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def _first_known(self, values: Iterable[Any]) -> _Product | None:
        """What is known of the tensors in values: weights before scores."""
        known = [found for tensor in _tensors(values) if (found := self._of(tensor)) is not None]
        return next((one for one in known if one.weights is not None), known[0] if known else None)


@dataclass(frozen=True, slots=True)
class _Order:
    """How the axes of weights lie.

    Attributes:
        axes: Those before queries and keys, the query axis, the key axis.
        key_heads: Heads the values have where weights have more in groups, or None.
    """

    axes: tuple[int, ...]
    key_heads: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Factors:
    """The two tensors of a product, each with a name for each of its axes; a name in both and not in `out` is summed.

    Attributes:
        tensors: The two tensors.
        names: Names of their axes.
        out: Names of the result's.
    """

    tensors: tuple[torch.Tensor, torch.Tensor]
    names: tuple[str, str]
    out: str

    def order(self, weights: torch.Tensor) -> _Order | None:
        """How the axes of one of them lie as weights; None where the product is none of weights and values."""
        mine, other = (0, 1) if self.tensors[0] is weights else (1, 0)
        names, values = self.names[mine], self.names[other]
        summed = [name for name in names if name in values and name not in self.out]
        widths = [name for name in values if name not in names and name in self.out]
        asking = [name for name in names if name not in values and name in self.out]
        if len(summed) != 1 or not widths or not asking:
            return None
        key = summed[0]
        query = min(
            asking, key=lambda name: (names.index(name) > names.index(key), abs(names.index(name) - names.index(key)))
        )
        before = [name for name in names if name not in (query, key)]
        shared = [name for name in before if name in values]
        sizes = [self.tensors[other].shape[values.index(name)] for name in shared]
        grouped = len(shared) < len(before) or any(
            size == 1 < weights.shape[names.index(name)] for name, size in zip(shared, sizes, strict=True)
        )
        key_heads = sizes[1] if grouped and len(before) == 3 and len(sizes) > 1 else None
        return _Order(tuple(names.index(name) for name in (*before, query, key)), key_heads)


def _factors(function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]) -> _Factors | None:
    """The two tensors of a product with the names of their axes; None where it is no product of two."""
    if function is torch.einsum:
        equation, *operands = positional
        several: Any = operands[0] if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
        return _of_equation(equation, several) if isinstance(equation, str) and len(several) == 2 else None
    tensors = [*_operands(positional, arguments)]
    if function in (torch.baddbmm, torch.Tensor.baddbmm):
        tensors = tensors[1:]
    if function is torch.Tensor.__rmatmul__:
        tensors = tensors[::-1]
    if len(tensors) != 2 or min(one.ndim for one in tensors) < 2:
        return None
    left, right = tensors
    most = max(left.ndim, right.ndim)
    letters = "abcdefghijklmnop"[: most - 2]
    return _Factors(
        (left, right),
        (letters[most - left.ndim :] + "xy", letters[most - right.ndim :] + "yz"),
        letters + "xz",
    )


def _operands(positional: tuple[Any, ...], arguments: dict[str, Any]) -> Iterator[torch.Tensor]:
    """The tensors a product is of: not the one it is written to."""
    yield from _tensors((*positional, *(one for name, one in arguments.items() if name != "out")))


def _of_equation(equation: str, operands: Any) -> _Factors | None:
    """An equation of einsum as names of axes, "..." written out."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    names = left.split(",")
    if len(names) != 2:
        return None
    spread = max(
        (one.ndim - len(name.replace("...", "")) for one, name in zip(operands, names, strict=True)), default=0
    )
    unused = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in left]
    written = []
    for one, name in zip(operands, names, strict=True):
        own = one.ndim - len(name.replace("...", ""))
        written.append(name.replace("...", "".join(unused[spread - own : spread])))
    if not arrow:
        out = "".join(sorted(name for name in set("".join(names)) if "".join(names).count(name) == 1))
    return _Factors((operands[0], operands[1]), (written[0], written[1]), out.replace("...", "".join(unused[:spread])))


def _is_of_heads(tensor: torch.Tensor, operands: Sequence[torch.Tensor]) -> bool:
    """Whether a product with a tensor is one with a table [head, head] that was learnt: heads that talk (DeepViT)."""
    others = [one for one in operands if one is not tensor]
    if len(others) != 1 or tensor.ndim < 4:
        return False
    table = others[0]
    return is_learnt(table) and table.shape == (tensor.shape[-3],) * 2 and table.shape[0] != tensor.shape[-1]


def _learnt(factors: _Factors | None) -> frozenset[int]:
    """Axes of a product, counted from the end, that only a parameter seen from another side has."""
    if factors is None:
        return frozenset()
    of_tokens = {
        name for one, names in zip(factors.tensors, factors.names, strict=True) if not is_learnt(one) for name in names
    }
    return frozenset(place - len(factors.out) for place, name in enumerate(factors.out) if name not in of_tokens)


def _axis_of_sum(powers: Any, sums: Any) -> int | None:
    """The axis, counted from the end, that sums have lost beside the powers they are sums of; None where it is not one.

    A single key leaves none to be told: then it is the last.
    """
    if not isinstance(powers, torch.Tensor) or not isinstance(sums, torch.Tensor) or powers.ndim != sums.ndim:
        return None
    lost = [axis for axis in range(-powers.ndim, 0) if powers.shape[axis] != sums.shape[axis] == 1]
    if powers.shape == sums.shape and powers.shape[-1] == 1:
        return -1
    return lost[0] if len(lost) == 1 else None


def _over_softmax(weights: torch.Tensor, known: _Product) -> bool:
    """Whether each row of weights [..., query, key] is one of the softmax: no row sums to more than 1, and where
    nothing changed them since, each to 1 or 0."""
    if not weights.numel() or not weights.is_floating_point():
        return False
    sums = weights.float().sum(-1).nan_to_num(1.0)
    if known.weights is not None and weights.numel() == known.weights.numel():
        near = (sums - 1).abs() < _SUMS_TO
        return bool((near | (sums.abs() < _SUMS_TO)).all()) or bool(
            weights.shape[-1] == known.weights.shape[known.axis]
        )
    return bool((sums < 1 + _SUMS_TO).all())


# Weights in 16 bits sum to one up to their rounding.
_SUMS_TO = 2e-2


def _visible(known: _Product, weights: torch.Tensor, axes: tuple[int, ...]) -> BoolArray:
    """Visible cells of weights laid out as `axes`: what the scores say where they have the same shape, and what was
    set to zero after the softmax is blocked, too."""
    assert known.scores is not None and known.weights is not None
    scores = known.scores
    if scores.shape != weights.shape:
        if scores.numel() == weights.numel():
            scores = scores.reshape(weights.shape) if scores.shape[-1] == weights.shape[-1] else scores
        elif scores.ndim == weights.ndim and scores.shape[:-1] == weights.shape[:-1]:
            scores = scores[..., : weights.shape[-1]]  # a sink that is no key was cut off
    if scores.shape != weights.shape:
        transposed = scores.transpose(-1, -2)
        scores = transposed if transposed.shape == weights.shape else scores
    if scores.shape != weights.shape:
        return np.asarray(to_array((weights > 0).permute(axes)), np.bool_)
    seen = visible_cells(scores)
    for hidden in known.hidden:
        if hidden.numel() == weights.numel():  # windows and rows are one axis or two
            seen = seen & ~to_array(hidden.reshape(weights.shape))
    if known.weights.shape == weights.shape:
        seen = seen & ~to_array((weights == 0) & (known.weights > 0))
    return np.asarray(seen.transpose(axes))


def _filled(
    function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]
) -> Iterator[HandedMask]:
    """The booleans by which scores are filled: where they are True, or with `where` where they are not."""
    if function is torch.where:
        keep = positional[0] if positional else arguments.get("condition")
    else:
        fill = positional[1] if len(positional) > 1 else arguments.get("mask")
        keep = ~fill if isinstance(fill, torch.Tensor) and fill.dtype is torch.bool else None
    if isinstance(keep, torch.Tensor) and keep.dtype is torch.bool and keep.ndim > 1:
        yield HandedMask("the mask of the scores", Dialect.SDPA, keep)


def _hidden_by(numbers: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """Cells of a sum, True = blocked, that a summand leaves nothing of; none where it has other axes."""
    low = ~let_through(numbers)
    while low.ndim > result.ndim and low.shape[0] == 1:
        low = low[0]
    try:
        return low.broadcast_to(result.shape)
    except RuntimeError:
        return torch.zeros(0, dtype=torch.bool)


def _with(value: Any, before: torch.Tensor, after: torch.Tensor) -> Any:
    """An argument with one tensor in the place of another."""
    if value is before:
        return after
    return type(value)(_with(one, before, after) for one in value) if isinstance(value, list | tuple) else value


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    """The tensors in a value, and in lists and tuples of it."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for one in values:
            yield from _tensors(one)
