"""What takes the place of a silenced head's output: its mean over texts, or what it puts out for another text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from maskviz.ablate.model_and_texts import AblatedText
from maskviz.ablate.rerun import Replacements, Rerun
from maskviz.core.errors import UsageError
from maskviz.core.words import Ablation
from maskviz.tracing.meaning.hearing import StackLayer

# Gives the stand-ins of a text by its number; None for nothing at all.
StandIns = Callable[[int], Replacements | None]


def stand_ins_of(rerun: Rerun, ablation: Ablation, seed: int) -> StandIns:
    """What stands in for silenced heads in each text.

    Args:
        rerun: The model under the tap.
        ablation: ZERO and FROZEN have none. MEAN takes the mean over all tokens of all texts. RESAMPLE takes another
            text's output, query by query; where that text is shorter it is begun again.
        seed: Which text stands in for which.

    Raises:
        UsageError: resampling with a single text.
    """
    texts = rerun.subject.texts
    if ablation is Ablation.MEAN:
        means = _means(rerun)
        return lambda _: means
    if ablation is Ablation.RESAMPLE:
        if len(texts) < 2:
            raise UsageError("resampling takes a head's output from another text, and there is one", "give two or more")
        donors = _donors(len(texts), seed)
        return lambda index: _outputs(rerun, texts[donors[index]], texts[index])
    return lambda _: None


def _donors(count: int, seed: int) -> list[int]:
    """For each of some texts another one, drawn at random: each stands in once."""
    order = np.random.default_rng(seed).permutation(count)
    donors = np.empty(count, dtype=np.int64)
    donors[order] = np.roll(order, 1)
    return [int(one) for one in donors]


def _means(rerun: Rerun) -> Replacements:
    """The mean output [1, head, 1, width] of every head over the tokens of all texts."""
    sums: dict[StackLayer, torch.Tensor] = {}
    counts: dict[StackLayer, int] = {}

    def adding(place: StackLayer, output: torch.Tensor) -> torch.Tensor:
        total = output.double().sum(dim=2, keepdim=True)
        sums[place] = sums[place] + total if place in sums else total
        counts[place] = counts.get(place, 0) + output.shape[2]
        return output

    for text in rerun.subject.texts:
        rerun.plainly(text, adding)
    return {place: total / counts[place] for place, total in sums.items()}


def _outputs(rerun: Rerun, donor: AblatedText, text: AblatedText) -> Replacements:
    """Every head's output [1, head, query, width] for one text, as long as those for another."""
    found: dict[StackLayer, torch.Tensor] = {}
    lengths: dict[StackLayer, int] = {}

    def keeping(place: StackLayer, output: torch.Tensor) -> torch.Tensor:
        found[place] = output.clone()
        return output

    def measuring(place: StackLayer, output: torch.Tensor) -> torch.Tensor:
        lengths[place] = output.shape[2]
        return output

    rerun.plainly(donor, keeping)
    rerun.plainly(text, measuring)
    return {
        place: output[:, :, torch.arange(lengths[place], device=output.device) % output.shape[2]]
        for place, output in found.items()
    }
