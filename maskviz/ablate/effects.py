"""What head masks do to texts: every mask beside the plain run, as many at a time as fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch

from maskviz.ablate.measures import Changes, Meaning, Yardstick
from maskviz.ablate.memory import check_room, rows_at_once
from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.ablate.rerun import Gates, Replacements, Rerun, gating, rerunning
from maskviz.ablate.stand_ins import stand_ins_of
from maskviz.core.arrays import DoubleArray, FloatArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.results.importance import Effects
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Ablation, Measure
from maskviz.core.writing import either
from maskviz.tracing.listen.recorder import Shards
from maskviz.tracing.meaning.hearing import StackLayer, gates_of

# Largest difference, in shares of the outputs' size, between a text run alone and in a batch that is replayed.
_SAME = 1e-4

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is asked of a subject.

    Attributes:
        masks: Each is asked on its own; 1 keeps a head, 0 silences it.
        ablation: What takes the place of a silenced head's output.
        base: Heads silenced in the run that the others are compared with, too; every mask silences them as well.
        seed: Of the texts that stand in for each other.
    """

    masks: Sequence[HeadMask]
    ablation: Ablation = Ablation.ZERO
    base: HeadMask | None = None
    seed: int = 0


def no_progress(count: int) -> None:
    """Tell nobody."""
    del count


def effects_of(
    subject: ModelAndTexts, question: Question, *, which: Sequence[int] | None = None, progress: Progress = no_progress
) -> Effects:
    """Ask what masks do to texts.

    A text is run once, and then again for every mask from the layer on where it first differs, several masks as one
    batch. A model whose rows are not independent of each other is run whole, one mask after the other.

    Args:
        subject: The model and its texts.
        question: What is asked.
        which: Numbers of the texts to be examined, None for all; the others may stand in for them.
        progress: Called with the number of masks that a text has got through.

    Raises:
        CannotTraceError: a text does not fit, or heads are not found where they mix their values.
    """
    which = range(len(subject.texts)) if which is None else which
    check_room(subject)
    asked = _Prepared.of(subject, question)
    changes: list[dict[Measure, DoubleArray]] = []
    plain: list[dict[Measure, float]] = []
    with rerunning(subject, question.ablation) as rerun:
        stand_ins = stand_ins_of(rerun, question.ablation, question.seed)
        in_batches: bool | None = None
        for index in which:
            own: list[tuple[dict[Measure, DoubleArray], Mapping[Measure, float]]] = []
            for text in subject.texts[index].asked:
                examined = _Examined(rerun, text, asked, stand_ins(index))
                if in_batches is None:
                    in_batches = examined.rows_are_independent()
                own.append((examined.changes(in_batches, progress), examined.yardstick.plain))
            changes.append(_mean([one for one, _ in own]))
            plain.append({measure: float(value) for measure, value in _mean([one for _, one in own]).items()})
    return Effects(_stacked(changes, len(question.masks)), _columns(plain))


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """Masks as the gates they set: of each, float32 [head] by place; those of the base beside them."""

    gates: tuple[dict[StackLayer, FloatArray], ...]
    base: dict[StackLayer, FloatArray]
    meaning: Meaning
    shards: Shards

    @classmethod
    def of(cls, subject: ModelAndTexts, question: Question) -> _Prepared:
        gates = tuple(gates_of(subject.trace, mask) for mask in question.masks)
        base = {} if question.base is None else gates_of(subject.trace, question.base)
        return cls(gates, base, Meaning.of(subject), subject.shards)

    def differs_at(self, index: int) -> list[StackLayer]:
        """Places where a mask sets other gates than the base."""
        mine = self.gates[index]
        return [place for place in mine.keys() | self.base.keys() if not _equal(mine.get(place), self.base.get(place))]

    def rows(self, masks: Sequence[int], heads: dict[StackLayer, int]) -> Gates:
        """Gates of some masks, for the heads that run here."""
        places = {place for index in masks for place in self.gates[index]}
        return {
            place: self._own(
                place, [self.gates[index].get(place, np.ones(heads[place], np.float32)) for index in masks]
            )
            for place in places
        }

    def base_row(self) -> Gates:
        """Gates of the base, for the heads that run here."""
        return {place: self._own(place, [gates]) for place, gates in self.base.items()}

    def _own(self, place: StackLayer, gates: Sequence[FloatArray]) -> torch.Tensor:
        return torch.as_tensor(self.shards.own(place[0], np.stack(gates)))


def _equal(one: FloatArray | None, other: FloatArray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


class _Examined:
    """One text that masks are asked about."""

    def __init__(self, rerun: Rerun, text: AblatedText, asked: _Prepared, stand_ins: Replacements | None) -> None:
        self._rerun, self._text, self._asked, self._stand_ins = rerun, text, asked, stand_ins
        self._heads = {place: calls[0].heads for place, calls in rerun.subject.calls.items()}
        self._base = gating(asked.base_row(), stand_ins)
        self._returned = rerun.store(text, self._base)
        self.yardstick = Yardstick(asked.meaning, self._returned, text.batch.decoder or text.batch, text.answer)
        unreached = [path for path, turn in self._heads if (path, turn) not in rerun.layer_of]
        if unreached:
            raise CannotTraceError(
                f"the output of the heads of {unreached[0]} was not found where they mix their values",
                either(
                    "maskviz.trace(..., head_mask=...) silences them one mask at a time",
                    "maskviz show --head-mask silences them one mask at a time",
                ),
            )

    def rows_are_independent(self) -> bool:
        """Whether the text run as two rows, whole and with most of it replayed, gives twice what it gives alone."""
        answers = self._asked.meaning.answers
        plain = answers(self._returned).float()
        try:
            whole = answers(self._rerun.compare(self._text, self._base)).float()
            last = max(self._rerun.layer_of.values())
            replayed = answers(self._rerun.again(self._text, 2, last, self._base)).float()
        except (ValueError, CannotTraceError):
            return False
        limit = _SAME * max(1.0, float(plain.abs().max()))
        return all(
            twice.shape == (2, *plain.shape[1:]) and bool(((twice - plain).abs() <= limit).all())
            for twice in (whole, replayed)
        )

    def changes(self, in_batches: bool, progress: Progress) -> dict[Measure, DoubleArray]:
        """float64 [mask] for each measure."""
        measures = self.yardstick.measures
        found = {measure: np.zeros(len(self._asked.gates)) for measure in measures}
        for since, masks in self._batches(in_batches):
            edit = gating(self._asked.rows(masks, self._heads), self._stand_ins)
            changes: Changes = self.yardstick.changes(self._rerun.again(self._text, len(masks), since, edit))
            for measure in measures:
                found[measure][list(masks)] = changes[measure]
            progress(len(masks))
        return found

    def _batches(self, in_batches: bool) -> Iterator[tuple[int, list[int]]]:
        """Masks that are run together, and the first layer where any of them differs from the base."""
        first = {}
        for index in range(len(self._asked.gates)):
            places = self._asked.differs_at(index)
            if places:
                first[index] = min(self._rerun.layer_of[place] for place in places)
        size = rows_at_once(self._rerun.subject, self._text) if in_batches else 1
        for since, group in groupby(sorted(first, key=lambda index: first[index]), key=lambda index: first[index]):
            masks = list(group)
            for start in range(0, len(masks), size):
                yield (since if in_batches else 0), masks[start : start + size]


def _mean(measured: Sequence[Mapping[Measure, Any]]) -> dict[Measure, DoubleArray]:
    """The mean of what was measured of the texts that stand for one."""
    return {measure: np.mean([one[measure] for one in measured], axis=0) for measure in measured[0]}


def _stacked(changes: Sequence[dict[Measure, DoubleArray]], masks: int) -> dict[Measure, DoubleArray]:
    """[text, mask] of each measure that any text has; NaN for a text that has not."""
    measures = dict.fromkeys(measure for one in changes for measure in one)
    nothing = np.full(masks, np.nan)
    return {measure: np.stack([one.get(measure, nothing) for one in changes]) for measure in measures}


def _columns(plain: Sequence[dict[Measure, float]]) -> dict[Measure, DoubleArray]:
    measures = dict.fromkeys(measure for one in plain for measure in one)
    return {measure: np.array([one.get(measure, np.nan) for one in plain]) for measure in measures}
