"""One text run again and again with gates on heads, from the layer on where they first differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from maskviz.ablate.frozen import Softmaxes
from maskviz.ablate.head_edits import Edit, HeadTap, tapped, unchanged
from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.ablate.replay import Replay
from maskviz.core.words import Ablation
from maskviz.tracing.calling import Calling, Inputs, called, explained, same_randomness
from maskviz.tracing.listen.recorder import Expected, Recorder
from maskviz.tracing.listen.taps import module_path_hooks
from maskviz.tracing.meaning.hearing import StackLayer
from maskviz.tracing.seam.implementations import evaluating, running
from maskviz.tracing.seam.onednn import multiplied_by_onednn

# Gates [row, head] of each place that has any below 1, of the heads that run in this process.
Gates = Mapping[StackLayer, torch.Tensor]
# What takes the place of a head's output, broadcastable to [row, head, query, width].
Replacements = Mapping[StackLayer, torch.Tensor]


@dataclass(slots=True)
class Rerun:
    """A model under the tap, ready to be run; made by `rerunning`.

    Attributes:
        layer_of: The layer, by order of execution, that each place lies in; known after `store`.
    """

    subject: ModelAndTexts
    replay: Replay
    tap: HeadTap
    softmaxes: Softmaxes | None
    layer_of: dict[StackLayer, int]

    def plainly(self, text: AblatedText, edit: Edit = unchanged) -> Any:
        """Run a text once, as it is but for an edit; returns what the model returned."""
        self.replay.plainly()
        return self._run(text, 1, edit)

    def store(self, text: AblatedText, edit: Edit = unchanged) -> Any:
        """Run a text once and store what its layers put out."""
        self.layer_of = {}

        def noting(place: StackLayer, output: torch.Tensor) -> torch.Tensor:
            self.layer_of[place] = self.replay.at
            return edit(place, output)

        self.replay.store()
        if self.softmaxes is not None:
            self.softmaxes.record()
        returned = self._run(text, 1, noting)
        if self.softmaxes is not None:
            self.softmaxes.hold()
        return returned

    def compare(self, text: AblatedText, edit: Edit = unchanged) -> Any:
        """Run a stored text as two equal rows, to learn along which axes rows lie.

        Raises:
            ValueError: layers put out other things for two rows than for one.
        """
        self.replay.compare()
        returned = self._run(text, 2, edit)
        self.replay.settle()
        return returned

    def again(self, text: AblatedText, rows: int, since: int, edit: Edit) -> Any:
        """Run a stored text as some rows, from layer `since` on."""
        self.replay.again(rows, since)
        return self._run(text, rows, edit)

    def _run(self, text: AblatedText, rows: int, edit: Edit) -> Any:
        self.tap.edit, self.tap.rows = edit, rows
        if self.softmaxes is not None:
            self.softmaxes.rows = rows
        with same_randomness(), explained(self.subject.trace.card, "fails while its heads are silenced"):
            return called(self.subject.model, _repeated(text.inputs, rows), Calling())[0]


@contextmanager
def rerunning(
    subject: ModelAndTexts, ablation: Ablation = Ablation.ZERO, *, gradients: bool = False
) -> Iterator[Rerun]:
    """Put a model under the tap while the block runs; everything is as it was afterwards.

    Args:
        subject: The model and its texts.
        ablation: The kind of ablation; a frozen one runs "eager" attention, whose softmaxes can be held.
        gradients: Whether gradients are to be had; they are not for the parameters.
    """
    replay = Replay()
    frozen = ablation is Ablation.FROZEN
    with ExitStack() as block:
        block.enter_context(torch.set_grad_enabled(gradients))
        block.enter_context(evaluating(subject.model))
        if frozen:
            block.enter_context(running(subject.model, "eager"))
        block.enter_context(multiplied_by_onednn(subject.model))
        block.enter_context(replay.following(subject.model))
        recorder = Recorder(Expected(1, frozenset(), frozenset()))
        block.enter_context(module_path_hooks(subject.model, recorder))
        softmaxes = block.enter_context(Softmaxes(subject, recorder, replay)) if frozen else None
        tap = block.enter_context(tapped(subject, recorder, replay))
        yield Rerun(subject, replay, tap, softmaxes, {})


def gating(gates: Gates, replacements: Replacements | None = None) -> Edit:
    """The edit that scales heads by their gates g, and lets a replacement r in: g · output + (1 - g) · r."""

    def edit(place: StackLayer, output: torch.Tensor) -> torch.Tensor:
        gate = gates.get(place)
        if gate is None:
            return output
        gate = gate[:, :, None, None].to(output)
        if replacements is None:
            return output * gate
        return output * gate + replacements[place].to(output) * (1 - gate)

    return edit


def _repeated(inputs: Inputs, rows: int) -> Inputs:
    """Inputs of one row as those of several equal ones."""
    return {
        name: one.expand(rows, *one.shape[1:]) if isinstance(one, torch.Tensor) and one.shape[:1] == (1,) else one
        for name, one in inputs.items()
    }
