"""The tap at which what each head puts out can be changed, under the model's own attention implementation.

A head's output is what its attention makes of its values, before the output projection mixes it with the other heads'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from maskviz.ablate.model_and_texts import ModelAndTexts
from maskviz.ablate.replay import Replay
from maskviz.tracing.listen.layout import own_projection, projection_around
from maskviz.tracing.listen.mixing import MixingListener
from maskviz.tracing.listen.recorder import Recorder
from maskviz.tracing.meaning.hearing import StackLayer

# Takes a place and what its heads that run in this process put out, [row, head, query, width]; returns what they are to
# put out instead.
Edit = Callable[[StackLayer, torch.Tensor], torch.Tensor]


def unchanged(place: StackLayer, output: torch.Tensor) -> torch.Tensor:
    """The edit that changes nothing."""
    del place
    return output


@contextmanager
def tapped(subject: ModelAndTexts, recorder: Recorder, replay: Replay) -> Iterator[HeadTap]:
    """Hand what heads put out to an edit while the block runs, and a recorder follows which module runs."""
    tap = HeadTap(subject, recorder, replay)
    handles = []
    try:
        for path, layer in _projections(subject.model, subject.banded):
            handles.append(layer.register_forward_pre_hook(tap.joined(path)))
        with tap:
            yield tap
    finally:
        for handle in handles:
            handle.remove()


class HeadTap(MixingListener):
    """Finds each place where heads mix values, and lets an edit change what comes out."""

    def __init__(self, subject: ModelAndTexts, recorder: Recorder, replay: Replay) -> None:
        heads = {path: subject.shards.heads(path, calls[0].heads) for (path, _), calls in subject.calls.items()}
        super().__init__(recorder, frozenset(heads) - subject.banded)
        self.edit: Edit = unchanged
        self.rows = 1
        self._heads = heads
        self._replay = replay

    def attended(self, path: str, attend: Callable[..., torch.Tensor], given: dict[str, Any]) -> torch.Tensor:
        """Edit what a fused attention puts out."""
        output = attend(**given)
        return self._edited(path, output) if output.shape[:2] == (self.rows, self._heads[path]) else output

    def mixed(self, path: str, weights: torch.Tensor, values: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Edit what weights times values are."""
        del values
        heads = self._heads[path]
        if weights.shape[:2] != (self.rows, heads) and weights.shape[0] != self.rows * heads:
            return output
        self.forget()
        apart = output.reshape(self.rows, heads, *output.shape[-2:])
        return self._edited(path, apart).reshape(output.shape)

    def joined(self, path: str) -> Callable[..., tuple[Any, ...]]:
        """A hook that edits joined heads [row, query, head * width] on their way into a projection."""

        def projecting(_: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            rows, queries, width = given[0].shape
            heads = self._heads[path]
            apart = given[0].view(rows, queries, heads, width // heads).transpose(1, 2)
            return (self._edited(path, apart).transpose(1, 2).reshape(given[0].shape), *given[1:])

        return projecting

    def _edited(self, path: str, output: torch.Tensor) -> torch.Tensor:
        return self.edit((path, self._replay.turn("mixing", path)), output)


def _projections(model: torch.nn.Module, paths: frozenset[str]) -> Iterator[tuple[str, torch.nn.Module]]:
    """The layer that takes the joined heads of each of these modules."""
    modules = dict(model.named_modules())
    for path in paths:
        layer = own_projection(modules[path])
        if layer is None and path:
            layer = projection_around(modules[path.rpartition(".")[0]])
        if layer is not None:
            yield path, layer
