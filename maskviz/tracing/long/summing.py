"""The taps for long texts: attention is seen block by block, added up, and let go.

Three ways lead there. Where the mask's rule says how far each query sees, our own arithmetic (`blockwise`) takes the
place of eager attention; where it does not compute the same, the model's own eager attention runs on blocks of rows;
where attention is written by hand, a whole layer is made by the model and added up at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.extents import Lengths
from maskviz.core.run.trace import Delivery
from maskviz.core.words import Way
from maskviz.tracing.calling import visible_cells
from maskviz.tracing.listen.recorder import Recorder, broadcast_cells
from maskviz.tracing.listen.taps import MaskDialect, SoftmaxListener, module_path_hooks
from maskviz.tracing.long.eager_rows import EagerCall
from maskviz.tracing.long.freeing import give_back
from maskviz.tracing.long.own_arithmetic import Heads, attend_by_blocks
from maskviz.tracing.long.promised import KnownMask, Masks, masks_promised
from maskviz.tracing.long.tally import Keeping, Sides, Tallied, Tally, TilePlace, blocks_of
from maskviz.tracing.meaning.hearing import StackLayer
from maskviz.tracing.seam.implementations import evaluating, running
from maskviz.tracing.seam.masks import eager_attention_replaced
from maskviz.tracing.seam.onednn import multiplied_by_onednn
from maskviz.tracing.seam.torch_names import Unheard

# Largest difference from the model's own attention that is rounding, by how it was computed: our arithmetic is held to
# float32's; the model's own, called with fewer rows, may add up in another order, in whatever type it runs.
_ROUNDING = {Way.BLOCKS: 1e-5, Way.ROWS: 2e-2}
_ROWS_AT_ONCE = 128
_GIVEN_BACK = 4096  # keys attended to after which freed memory is given back: having it again costs time


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """One call as it was added up.

    Attributes:
        module: Path of the module that made it.
        heads, queries, keys: Query heads, and tokens along the axes.
        tallied: What was added up.
        rule: What its mask was built from, None where that has to be read off `visible`.
        visible: bool [batch, 1 or head, query, key] where the model made the square itself, else None.
        way, difference: As in `LongCall`.
        biased: Whether it got an argument with a number for each query and key.
    """

    module: str
    heads: int
    queries: int
    keys: int
    tallied: Tallied
    rule: Rule | None
    visible: BoolArray | None
    way: Way
    difference: float | None
    biased: bool = False


@dataclass(slots=True)
class Streaming:
    """A run that is added up.

    Attributes:
        keeping: What of each call is added up; its rows are compared with the model's own.
        chosen: Which of those rows are kept, by their numbers among them.
        sides: The tokens along the axes of each call, by where it is made.
        wanted: Where the calls are made that are kept.
        masks: The masks of the run.
        dialect: How modules read the masks they are handed.
        recorder: Which module runs; its own calls stay empty.
        calls: The calls so far that are kept.
        heard: Where every call so far was made.
        alike, unlike: Files whose eager attention computes softmax(scale * Q K^T + mask) V, and those where it is more.
    """

    keeping: Keeping
    chosen: list[int]
    sides: Mapping[StackLayer, Sides]
    wanted: frozenset[StackLayer]
    masks: Masks
    dialect: MaskDialect
    recorder: Recorder
    calls: list[Streamed] = field(default_factory=list)
    heard: list[StackLayer] = field(default_factory=list)
    alike: set[str] = field(default_factory=set)
    unlike: set[str] = field(default_factory=set)

    def next_sides(self, path: str) -> Sides:
        """The axes of the call a module makes now.

        Raises:
            NotRehearsedError: it made no such call when the text was short.
        """
        place = (path, sum(path == other for other, _ in self.heard))
        if place not in self.sides:
            raise NotRehearsedError(f"{path} attends where it did not on a part of the text")
        self.heard.append(place)
        return self.sides[place]

    def keep(self, call: Streamed) -> None:
        """Keep the call just made, if it is wanted."""
        if self.heard[-1] in self.wanted:
            self.calls.append(call)


class NotRehearsedError(RuntimeError):
    """A call was made that a short run of the same model did not make, or that does not compare with its own."""


@contextmanager
def streamed(model: PreTrainedModel, streaming: Streaming, *, whole_masks: bool) -> Iterator[None]:
    """Add up every attention of a model while the block runs; everything is restored afterwards.

    Args:
        model: The model.
        streaming: What to keep, and where calls are added.
        whole_masks: Whether transformers' masks are built, for models that calculate with them.
    """
    with ExitStack() as block:
        block.enter_context(evaluating(model))
        block.enter_context(running(model, "eager"))
        block.enter_context(masks_promised(model, streaming.masks, whole=whole_masks))
        paths = {id(module): path for path, module in model.named_modules()}
        block.enter_context(eager_attention_replaced(model, lambda original: _listener(original, streaming, paths)))
        block.enter_context(module_path_hooks(model, streaming.recorder))
        block.enter_context(_SoftmaxAdded(streaming))
        block.enter_context(multiplied_by_onednn(model))
        yield


def _listener(original: Callable[..., Any], streaming: Streaming, paths: dict[int, str]) -> Callable[..., Any]:
    recorder = streaming.recorder

    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *positional: Any,
        **arguments: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        path = paths.get(id(module))
        if path is None:  # a module of another model
            foreign: tuple[torch.Tensor, torch.Tensor] = original(
                module, query, key, value, attention_mask, *positional, **arguments
            )
            return foreign

        def own(
            query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, more: dict[str, Any]
        ) -> tuple[torch.Tensor, torch.Tensor]:
            handed = streaming.dialect.read(module, mask, query.dtype)
            output = original(module, query, key, value, handed, *positional, **more)
            return streaming.dialect.emptied(module, mask, *output)

        if recorder.paused or recorder.away:  # one file's eager attention calls another's; no tokens are read here
            return own(query, key, value, attention_mask, arguments)
        sides = streaming.next_sides(path)
        known, visible = _mask_of(streaming, attention_mask, query, key)
        call = EagerCall(own, query, key, value, known, arguments, further=bool(positional))
        with recorder.looking_away():
            output = _attended(streaming, call, visible, sides, original.__module__)
        if len(streaming.heard) % max(1, _GIVEN_BACK // sides.keys) == 0:
            give_back()
        return output, None

    return attention


def _mask_of(
    streaming: Streaming, mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor
) -> tuple[KnownMask, BoolArray | None]:
    """A mask, and its cells where the model made it itself and its rule has to be read off them."""
    queries, keys = query.shape[2], key.shape[2]
    known = streaming.masks.of(mask, Lengths(queries, keys))
    if known is not None:
        return known, None
    assert mask is not None

    def rows(start: int, stop: int) -> torch.Tensor:
        return mask if mask.ndim < 3 or mask.shape[-2] == 1 else mask[..., start:stop, :]

    return KnownMask(None, None, rows), broadcast_cells(visible_cells(mask), (len(query), queries, keys))


def _attended(
    streaming: Streaming, call: EagerCall, visible: BoolArray | None, sides: Sides, file: str
) -> torch.Tensor:
    """Attend the quickest way that computes what the model's own eager attention does on the rows that are kept.

    Raises:
        NotRehearsedError: there is none.
    """
    difference = float("nan")
    for way in _ways(streaming, call, sides, file):
        tally = Tally(streaming.keeping, sides, call.query.shape[1], call.query.device)
        if way is Way.BLOCKS:
            heads = Heads(call.query, call.key, call.value, call.scale)
            with Unheard():  # none of it is to be listened to, and listening costs time
                output = attend_by_blocks(heads, call.extents, streaming.keeping.tile, tally)
        else:
            output = call.attend_by_rows(streaming.keeping.tile, tally)
        difference = call.difference(streaming.keeping.rows, tally, output, sides.meant)
        if difference <= _ROUNDING[way]:
            path, count = streaming.heard[-1][0], call.query.shape[1]
            kept, rule = tally.kept(streaming.chosen), call.known.rule
            streaming.keep(
                Streamed(path, count, sides.queries, sides.keys, kept, rule, visible, way, difference, call.biased)
            )
            return output
        streaming.unlike.add(file)
    raise NotRehearsedError(f"attention by blocks of rows differs by {difference:.1g} from the model's own")


def _ways(streaming: Streaming, call: EagerCall, sides: Sides, file: str) -> list[Way]:
    """The ways that may do, the quicker one first."""
    if file in streaming.unlike or not call.simple(sides.meant):
        return [Way.ROWS]
    if file not in streaming.alike:
        (streaming.alike if call.unlimited() else streaming.unlike).add(file)
    return [Way.BLOCKS, Way.ROWS] if file in streaming.alike else [Way.ROWS]


class _SoftmaxAdded(SoftmaxListener):
    """Adds up attention that is written by hand, a layer at a time."""

    def __init__(self, streaming: Streaming) -> None:
        super().__init__(streaming.recorder)
        self._streaming = streaming

    def _record(self, pattern: torch.Tensor, visible: BoolArray, key_heads: int, delivery: Delivery) -> None:
        streaming = self._streaming
        batch, heads, queries, keys = pattern.shape
        path = self._recorder.attending
        tally = Tally(streaming.keeping, streaming.next_sides(path), heads, pattern.device)
        for row in range(batch):
            for start, stop in blocks_of(queries, streaming.keeping.tile, _ROWS_AT_ONCE):
                tally.add(TilePlace(row, 0, start, 0), pattern[row, :, start:stop].float())
        cells = broadcast_cells(visible, (batch, queries, keys))
        for earlier in streaming.calls[-1:]:  # layers share a mask: one array for all of them
            if earlier.visible is not None and np.array_equal(earlier.visible, cells):
                cells = earlier.visible
        kept = tally.kept(streaming.chosen)
        streaming.keep(Streamed(path, heads, queries, keys, kept, None, cells, Way.LAYER, None))
