"""What is examined: a model, the places where its heads work, and the texts it is given one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from transformers import PreTrainedModel

from maskviz.core.results.importance import Site
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import AttentionCall, Batch, Delivery, Trace
from maskviz.tracing.calling import Inputs
from maskviz.tracing.listen.recorder import Shards, shards_of
from maskviz.tracing.meaning.hearing import StackLayer, places_of
from maskviz.tracing.run import head_shapes


@dataclass(frozen=True, slots=True)
class HiddenToken:
    """What is asked of one place of a text alone.

    Attributes:
        place: Position of the token.
        truth: Its id.
    """

    place: int
    truth: int


@dataclass(frozen=True, slots=True, eq=False)
class AblatedText:
    """One text, alone in its row: nothing of it is padding.

    Attributes:
        inputs: Arguments of the model's forward, one row.
        batch: What they stand for.
        answer: The one place that is asked about, None for every place.
        masked: The text with each of its real tokens masked in turn, each with its answer: what is measured of the text
            is the mean over them. Empty where the text is asked as it is.
    """

    inputs: Inputs
    batch: Batch
    answer: HiddenToken | None = None
    masked: tuple[AblatedText, ...] = ()

    @property
    def asked(self) -> tuple[AblatedText, ...]:
        """The texts that are run to measure this one."""
        return self.masked or (self,)

    @property
    def tokens(self) -> int:
        """Tokens of the side that is predicted."""
        return (self.batch.decoder or self.batch).length


@dataclass(frozen=True, slots=True, eq=False)
class ModelAndTexts:
    """A model and the texts it is examined on.

    Attributes:
        model: The model.
        trace: A traced run of one of the texts, which says where heads are and what the outputs mean.
        texts: The texts.
        calls: The call, or both sides of one, made at each place.
        shards: Modules that run some of their heads in this process.
    """

    model: PreTrainedModel
    trace: Trace
    texts: tuple[AblatedText, ...]
    calls: dict[StackLayer, tuple[AttentionCall, ...]] = field(init=False)
    shards: Shards = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "calls", dict(places_of(self.trace)))
        object.__setattr__(self, "shards", shards_of(self.model))

    @property
    def banded(self) -> frozenset[str]:
        """Paths of the modules whose attention is in bands or blocks, and has no product of weights and values."""
        return frozenset(path for (path, _), calls in self.calls.items() if calls[0].mask.delivery is Delivery.WEIGHTS)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(layers, heads) of each stack, as a `HeadMask` has them."""
        return head_shapes(self.trace)

    def sites(self, *, key_heads: bool = False) -> tuple[Site, ...]:
        """Every head, or every key head with the query heads that read it, in the order they run."""
        found: dict[Site, None] = {}
        for calls in self.calls.values():
            call = calls[0]
            group = call.heads // call.key_heads if key_heads else 1
            for first in range(0, call.heads, group):
                heads = tuple(range(first, first + group))
                key_head = first // group if key_heads else None
                found[Site(call.stack.value, call.layer, heads, key_head)] = None
        return tuple(found)

    def silenced(self, *sites: Site, base: HeadMask | None = None) -> HeadMask:
        """The head mask that silences these sites, and what a base mask silences already."""
        gates = {stack: np.ones(shape, np.float32) for stack, shape in self.shapes.items()}
        if base is not None:
            gates |= {stack: np.array(table) for stack, table in base.gates.items()}
        for site in sites:
            for stack in self._stacks_of(site):
                gates[stack][site.layer, list(site.heads)] = 0
        return HeadMask(gates)

    def _stacks_of(self, site: Site) -> set[str]:
        """The stack of a site, and the one it shares its softmax with."""
        return {
            call.stack.value
            for calls in self.calls.values()
            if (calls[0].stack.value, calls[0].layer) == (site.stack, site.layer)
            for call in calls
        }
