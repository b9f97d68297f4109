"""Masks without their cells: what stands in for a mask while a long text runs, and how its rows are had.

A model hands the mask it is given on to its attention. In place of transformers' square it gets a tensor of the same
shape that takes no memory and is not a number anywhere: a model that calculates with it is found out.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from maskviz.core.rules.algebra import Everything, Rule
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.tracing.listen.taps import rule_heard
from maskviz.tracing.seam.masks import for_rows, lengths_of, mask_functions_replaced, offsets_of, without_skips

# The name under which a model that runs eager attention asks for its masks.
_EAGER = "eager"


@dataclass(frozen=True, slots=True, eq=False)
class KnownMask:
    """A mask whose rows can be had.

    Attributes:
        rule: What it was built from; None where that is not known.
        extents: How far each query sees; None where the rule does not say it simply.
        rows: From the first query and the one behind the last to the additive mask [batch, 1, query, key], as
            transformers builds it; None for no mask at all.
        promised: Whether a stand-in is in its place.
    """

    rule: Rule | None
    extents: Extents | None
    rows: Callable[[int, int], torch.Tensor | None]
    promised: bool = False


class Masks:
    """The masks of one run, found again by the memory behind a tensor or any view of it."""

    def __init__(self) -> None:
        self._known: dict[
            int, tuple[torch.Tensor, KnownMask]
        ] = {}  # the tensor is kept so that its memory stays its own

    def keep(self, tensor: torch.Tensor, known: KnownMask) -> None:
        """Remember what a tensor stands for."""
        self._known[tensor.untyped_storage().data_ptr()] = (tensor, known)

    def of(self, tensor: torch.Tensor | None, size: Lengths) -> KnownMask | None:
        """What a mask stands for; None where that is not known.

        Raises:
            RewrittenMaskError: the model has calculated with a stand-in.
        """
        if tensor is None:
            return KnownMask(Everything(), Everything().extents(size), lambda *_: None)
        found = self._known.get(tensor.untyped_storage().data_ptr())
        empty = tensor.is_floating_point() and bool(tensor[(slice(1),) * tensor.ndim].isnan().any())
        if empty != (found is not None and found[1].promised):  # made of a stand-in, or one that was written into
            raise RewrittenMaskError("the model calculates with its masks")
        return None if found is None else found[1]


class RewrittenMaskError(RuntimeError):
    """A model did not just hand a stand-in on."""


def masks_promised(model: torch.nn.Module, masks: Masks, *, whole: bool) -> AbstractContextManager[None]:
    """A block in which the masks transformers builds for a model are known; with `whole`, they are built."""
    return mask_functions_replaced(model, (_EAGER,), lambda build: _promising(masks, build, whole))


def _promising(masks: Masks, build: Callable[..., Any], whole: bool) -> Callable[..., Any]:
    def mask(**arguments: Any) -> Any:
        arguments = without_skips(arguments)
        queries, keys = lengths_of(arguments)
        first_query, first_key = offsets_of(arguments)
        rule = rule_heard(arguments)
        size = Lengths(queries, keys, first_query)
        extents = rule.extents(size) if rule.readable and not first_key else None
        if whole:
            tensor = build(**arguments)
            masks.keep(tensor, KnownMask(rule, extents, lambda start, stop: tensor[..., start:stop, :]))
            return tensor

        def rows(start: int, stop: int) -> torch.Tensor:
            built: torch.Tensor = build(**for_rows(arguments, start, stop))
            return built

        one = rows(0, 1)
        stand_in = torch.full((), torch.nan, dtype=one.dtype, device=one.device)
        stand_in = stand_in.expand(one.shape[0], one.shape[1], queries, one.shape[3])
        masks.keep(stand_in, KnownMask(rule, extents, rows, promised=True))
        return stand_in

    return mask
