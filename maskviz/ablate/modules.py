"""Heads of a module of the user's own silenced, one run each: nothing is known of its layers that could be replayed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from maskviz.ablate.effects import Question, no_progress
from maskviz.ablate.measures import Meaning, Yardstick
from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.core.arrays import DoubleArray, IntArray
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.results.importance import Effects
from maskviz.core.run.trace import Batch
from maskviz.core.words import Ablation, Measure
from maskviz.core.writing import parameter
from maskviz.tracing.modules.run import ModuleRun, gated_output_of


def module_and_rows(ran: ModuleRun) -> ModelAndTexts:
    """A module and the rows of its batch, each asked on its own.

    Raises:
        CannotTraceError: it puts out nothing that can be compared row by row.
    """
    output, side = ran.output, ran.trace.batch.decoder or ran.trace.batch
    if output is None or output.ndim not in (2, 3) or output.shape[0] != side.rows:
        shape = "no tensor of numbers" if output is None else f"a tensor of {tuple(output.shape)}"
        raise CannotTraceError(
            f"{ran.trace.card.architecture} puts out {shape}, which is not compared row by row",
            "what is wanted is [batch, position, width], or [batch, class]",
        )
    texts = tuple(AblatedText({}, _row_of(side, row, output.ndim == 3)) for row in range(side.rows))
    return ModelAndTexts(cast("Any", getattr(ran.subject, "module", torch.nn.Identity())), ran.trace, texts)


def module_effects(
    ran: ModuleRun, subject: ModelAndTexts, question: Question, progress: Callable[[int], None] = no_progress
) -> Effects:
    """Ask what masks do to each row of a module's batch; each mask is one run of the whole batch.

    Raises:
        UsageError: heads are to be replaced by something else than zero.
        CannotTraceError: outputs have another shape with heads silenced.
    """
    if question.ablation is not Ablation.ZERO:
        raise UsageError(
            f"{parameter('ablation', question.ablation)} is for models of transformers",
            "heads of a module of your own are set to zero",
        )
    plain = ran.output if question.base is None else gated_output_of(ran, question.base)
    meaning = Meaning.of(subject)
    rows = range(len(subject.texts))
    yardsticks = [Yardstick(meaning, _row(ran, plain, row), subject.texts[row].batch) for row in rows]
    changes: list[dict[Measure, list[float]]] = [{one: [] for one in yardstick.measures} for yardstick in yardsticks]
    for mask in question.masks:
        output = gated_output_of(ran, mask)
        for row, yardstick in enumerate(yardsticks):
            for measure, found in yardstick.changes(_row(ran, output, row)).items():
                changes[row][measure] += found
        progress(len(rows))
    kinds = dict.fromkeys(measure for one in changes for measure in one)
    nothing = np.full(len(question.masks), np.nan)
    return Effects(
        {kind: np.array([one.get(kind, nothing) for one in changes]) for kind in kinds},
        {kind: _plain_of(yardsticks, kind) for kind in dict.fromkeys(m for one in yardsticks for m in one.plain)},
    )


def _plain_of(yardsticks: list[Yardstick], kind: Measure) -> DoubleArray:
    return np.array([one.plain.get(kind, np.nan) for one in yardsticks])


def _row(ran: ModuleRun, output: torch.Tensor | None, row: int) -> Any:
    """What a module put out for one row, at its real positions, in the form a model's output has."""
    assert output is not None
    own = output[row : row + 1]
    if own.ndim == 3:
        side = ran.trace.batch.decoder or ran.trace.batch
        if own.shape[1] == side.length:
            own = own[:, torch.as_tensor(np.array(side.keep[row]), device=own.device)]
    return SimpleNamespace(logits=own)


def _row_of(side: Batch, row: int, cut: bool) -> Batch:
    """One row of a side, of its real positions where outputs are cut to them."""
    kept = np.flatnonzero(side.keep[row]) if cut else np.arange(side.length)

    def of(numbers: IntArray) -> IntArray:
        return numbers[row : row + 1, kept]

    return Batch(
        of(side.ids),
        side.keep[row : row + 1, kept],
        (tuple(side.tokens[row][place] for place in kept),),
        (tuple(side.roles[row][place] for place in kept),),
        side.texts[row : row + 1],
    )
