"""A model's own eager attention, run on some of its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.extents import Extents
from maskviz.tracing.long.promised import KnownMask
from maskviz.tracing.long.tally import Tally, TilePlace, blocks_of

# Attention of a query, key, value, mask and further arguments: output [batch, query, head, width] and weights.
OwnAttention = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, dict[str, Any]],
    tuple[torch.Tensor, torch.Tensor],
]
_CELLS = 1 << 23  # weights of a block, all heads
_FEWEST = 8
# Arguments that change no score: the window is in the mask, the others are for other attention than eager.
_IDLE = {"scaling", "dropout", "sliding_window", "is_causal", "position_ids", "cache_position", "use_cache"}
_LOUDER = (8.0, 64.0)  # factors of a query that show a limit of scores
_SAME = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class EagerCall:
    """One call of an eager attention.

    Attributes:
        own: The model's own attention.
        query: [batch, head, query, width].
        key, value: [batch, key head, key, width].
        known: Its mask.
        arguments: What else it was called with, by name.
        further: Whether it was called with more that has no name.
    """

    own: OwnAttention
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    known: KnownMask
    arguments: dict[str, Any]
    further: bool = False

    @property
    def extents(self) -> Extents:
        """How far each query sees.

        Raises:
            ValueError: the mask does not say.
        """
        if self.known.extents is None:
            raise ValueError("the mask does not say how far each query sees")
        return self.known.extents

    @property
    def biased(self) -> bool:
        """Whether an argument has a number for each query and key."""
        return any(self._cut(one, slice(0, 1), slice(0, 1)) is not one for one in self.arguments.values())

    @property
    def scale(self) -> float:
        """Factor of the scores."""
        given = self.arguments.get("scaling")
        return float(self.query.shape[-1] ** -0.5 if given is None else given)

    def simple(self, meant: BoolArray) -> bool:
        """Whether it may be no more than softmax(scale * Q K^T + mask) V in float32, with a mask that says how far each
        query sees and lets each query that is meant, bool [batch, query], see something."""
        extents = self.known.extents
        if extents is None or self.further or self.query.dtype is not torch.float32:
            return False
        if self.query.shape[1] % self.key.shape[1] or self.query.shape[-1] != self.key.shape[-1]:
            return False
        for name, value in self.arguments.items():  # limits of scores, sinks, biases
            if name not in _IDLE and (isinstance(value, torch.Tensor) or value):
                return False
        return not (meant & (extents.last <= extents.first)).any()

    def unlimited(self) -> bool:
        """Whether the last row's scores grow as its query does: a limit of scores (softcap) shows on large ones alone,
        and sampled rows may have none."""
        last = slice(self.query.shape[2] - 1, self.query.shape[2])
        mask = self.known.rows(last.start, last.stop)
        repeated = self.key.repeat_interleave(self.query.shape[1] // self.key.shape[1], dim=1)
        for factor in _LOUDER:
            query = self.query[:, :, last] * factor
            weights = self.own(query, self.key, self.value, mask, self.arguments)[1]
            scores = query @ repeated.transpose(2, 3) * self.scale
            expected = torch.softmax(scores if mask is None else scores + mask, dim=-1)
            if not float((weights - expected).abs().max()) <= _SAME:
                return False
        return True

    def attend_by_rows(self, tile: int, tally: Tally) -> torch.Tensor:
        """Attend block by block, add what is seen to a tally, and return the output [batch, query, head, width]."""
        batch, heads, queries, _ = self.query.shape
        keys = self.key.shape[2]
        most = max(_FEWEST, _CELLS // (batch * heads * keys))
        outputs = []
        for start, stop in blocks_of(queries, tile, most):
            seen = self._seen(start, stop)
            output, weights = self.rows(slice(start, stop), seen)
            outputs.append(output)
            for row in range(batch):
                tally.add(TilePlace(row, 0, start, seen.start), weights[row].float())
        return torch.cat(outputs, dim=1)

    def rows(self, rows: slice, keys: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Output [batch, query, head, width] and weights [batch, head, query, key] of some rows over some keys."""
        mask = self.known.rows(rows.start, rows.stop)
        more = {name: self._cut(one, rows, keys) for name, one in self.arguments.items()}
        return self.own(
            self.query[:, :, rows],
            self.key[:, :, keys],
            self.value[:, :, keys],
            None if mask is None else mask[..., keys],
            more,
        )

    def difference(self, rows: tuple[int, ...], tally: Tally, output: torch.Tensor, meant: BoolArray) -> float:
        """Largest difference to the own attention over all keys, on rows a tally keeps: of weights, and of outputs
        relative to the largest value.

        Args:
            rows: Numbers of those rows.
            tally: What was added up.
            output: [batch, query, head, width].
            meant: bool [batch, query], False for queries that say nothing.
        """
        places = [number for number, row in enumerate(rows) if row < self.query.shape[2]]
        if not places:
            return 0.0
        asked = [rows[place] for place in places]
        own_output, own_weights = self._own_rows(asked)
        here = torch.as_tensor(meant[:, asked], device=output.device)[:, :, None, None]
        weights = (own_weights.float() - tally.rows(places)).transpose(1, 2).abs()
        mixed = (own_output.float() - output[:, asked].float()).abs()
        size = max(1.0, float(self.value.abs().max()))
        return max(float(weights.where(here, 0).max()), float(mixed.where(here, 0).max()) / size)

    def _own_rows(self, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Output and weights of single rows over all keys."""
        masks = [self.known.rows(row, row + 1) for row in rows]
        known = [mask.expand(*mask.shape[:-2], 1, -1) for mask in masks if mask is not None]
        every = slice(0, self.key.shape[2])
        more = {name: self._cut(one, rows, every) for name, one in self.arguments.items()}
        return self.own(self.query[:, :, rows], self.key, self.value, torch.cat(known, -2) if known else None, more)

    def _seen(self, start: int, stop: int) -> slice:
        """The keys that one of some queries sees at least."""
        extents = self.known.extents
        if extents is None:
            return slice(0, self.key.shape[2])
        first, last = extents.first[:, start:stop], extents.last[:, start:stop]
        seeing = last > first
        if not seeing.all():  # what a query that sees nothing gets is the average over all keys
            return slice(0, self.key.shape[2])
        return slice(int(first.min()), int(last.max()))

    def _cut(self, argument: Any, rows: slice | list[int], keys: slice) -> Any:
        """The part of an argument [..., query, key], such as a position bias, that belongs to some rows and keys."""
        if not isinstance(argument, torch.Tensor) or argument.ndim < 3:
            return argument
        if argument.shape[-2] not in (1, self.query.shape[2]) or argument.shape[-1] != self.key.shape[2]:
            return argument
        return argument[..., keys] if argument.shape[-2] == 1 else argument[..., rows, :][..., keys]
