"""A model run again from the layer on where something changes: what layers before it put out is handed out again.

The layers are whatever runs as an element of a list of modules: every implementation keeps its layers in one. What is
around them (embeddings, masks, the output head) runs as always, so nothing has to be known of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from maskviz.tracing.seam.torch_names import TreeSpec, tree_flatten, tree_leaves, tree_unflatten, writes_so_far


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """What one execution of a layer put out, for one row.

    Attributes:
        leaves, structure: Its output, taken apart; tensors are copies.
        turns: How often each thing had happened in the pass when it was done.
    """

    leaves: tuple[Any, ...]
    structure: TreeSpec
    turns: Counter[tuple[str, str]]


class Replay:
    """Stores what layers put out in one pass, and hands it out in later ones."""

    def __init__(self) -> None:
        self._turns: Counter[tuple[str, str]] = Counter()
        self._stored: list[_Stored] = []
        self._axes: list[tuple[int | None, ...]] = []
        self._shapes: list[tuple[tuple[int, ...], ...]] = []
        self._copies: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}
        self._storing = self._comparing = self._inside = False
        self._next = self._until = 0
        self._rows = 1

    @contextmanager
    def following(self, model: torch.nn.Module) -> Iterator[None]:
        """Follow the layers of a model while the block runs."""
        replaced = [(module, vars(module).get("forward")) for module in _listed(model)]
        try:
            for module, _ in replaced:
                module.forward = partial(self._layer, module.forward)
            yield
        finally:
            for module, before in replaced:
                del module.forward
                if before is not None:  # as it was put there by others, such as accelerate's hooks
                    module.forward = before

    def turn(self, what: str, path: str) -> int:
        """How often something has happened in a module in this pass; counts it once more."""
        turn = self._turns[what, path]
        self._turns[what, path] += 1
        return turn

    @property
    def at(self) -> int:
        """Number of the layer that runs now, in the order of execution; 0 outside of all."""
        return self._next - 1 if self._inside else 0

    def store(self) -> None:
        """Make ready for a pass of one row that is to be stored."""
        self._stored = []
        self._begin(storing=True)

    def compare(self) -> None:
        """Make ready for a pass of two equal rows, which says along which axis each output has its rows."""
        self._shapes = []
        self._begin(comparing=True)

    def settle(self) -> None:
        """Read the axes off the two passes.

        Raises:
            ValueError: layers put out other things for two rows than for one.
        """
        self._axes = [
            tuple(_grown(leaf, shape) for leaf, shape in zip(stored.leaves, shapes, strict=True))
            for stored, shapes in zip(self._stored, self._shapes, strict=True)
        ]

    def again(self, rows: int, until: int) -> None:
        """Make ready for a pass of some rows that runs the layers from number `until` on."""
        self._begin(rows=rows, until=until)

    def plainly(self) -> None:
        """Make ready for a pass that runs every layer and stores nothing."""
        self._begin()

    def _begin(self, *, storing: bool = False, comparing: bool = False, rows: int = 1, until: int = 0) -> None:
        self._turns = Counter()
        self._copies = {}
        self._storing, self._comparing, self._inside = storing, comparing, False
        self._rows, self._until, self._next = rows, until, 0

    def _layer(self, forward: Callable[..., Any], *positional: Any, **arguments: Any) -> Any:
        if self._inside:  # a list within a layer, such as its experts
            return forward(*positional, **arguments)
        index = self._next
        self._next += 1
        if index < self._until:
            self._turns = Counter(self._stored[index].turns)
            return self._handed_out(index)
        self._inside = True
        try:
            returned = forward(*positional, **arguments)
        finally:
            self._inside = False
        if self._storing:
            leaves, structure = tree_flatten(returned)
            copies = tuple(self._copy(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves)
            self._stored.append(_Stored(copies, structure, Counter(self._turns)))
        elif self._comparing:
            self._shapes.append(tuple(_shape(leaf) for leaf in tree_leaves(returned)))
        return returned

    def _copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy, since code after a layer may write into what it returned; one for what layers pass on unchanged."""
        key = (id(tensor), writes_so_far(tensor))
        if key not in self._copies:  # the tensor is kept beside its copy, so that its id stays its own
            self._copies[key] = (tensor, tensor.detach().clone())
        return self._copies[key][1]

    def _handed_out(self, index: int) -> Any:
        stored = self._stored[index]
        leaves = [
            leaf if axis is None else torch.cat([leaf] * self._rows, dim=axis) if self._rows > 1 else leaf.clone()
            for leaf, axis in zip(stored.leaves, self._axes[index], strict=True)
        ]
        return tree_unflatten(leaves, stored.structure)


def _listed(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The elements of every list of modules."""
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    return list(dict.fromkeys(element for one in lists for element in one if type(element) is not torch.nn.ModuleList))


def _shape(leaf: Any) -> tuple[int, ...]:
    return tuple(leaf.shape) if isinstance(leaf, torch.Tensor) else ()


def _grown(leaf: Any, shape: tuple[int, ...]) -> int | None:
    """The axis along which a tensor of one row is half as long as one of two rows; None where they are as long."""
    before = _shape(leaf)
    if before == shape:
        return None
    doubled = [axis for axis, (one, two) in enumerate(zip(before, shape, strict=True)) if two == 2 * one]
    if len(doubled) != 1 or sum(one != two for one, two in zip(before, shape, strict=True)) != 1:
        raise ValueError(f"one row gives {before}, two give {shape}")
    return doubled[0]
