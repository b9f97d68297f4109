"""How far outputs with heads silenced are from the plain outputs of the same text.

Written with logits x of a silenced run, x₀ of the plain run, p₀ = softmax(x₀) and d = x - x₀:

    loss added       log Σ p₀ eᵈ - d[truth]         (the logarithm is logsumexp(x) - logsumexp(x₀))
    KL(p₀ ‖ p)       log Σ p₀ eᵈ - Σ p₀ d           (Kullback and Leibler 1951)

so that small changes come from small numbers and not from the difference of large ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maskviz.ablate.model_and_texts import AblatedText, HiddenToken, ModelAndTexts
from maskviz.core.errors import CannotTraceError
from maskviz.core.run.trace import Batch, OutputKind
from maskviz.core.words import Measure
from maskviz.tracing.calling import main_output, predicted_tokens

# Logits looked at together: a few rows of a large vocabulary, which stay in the processor's cache.
_AT_ONCE = 1 << 19
Changes = dict[Measure, list[float]]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a model's outputs mean.

    Attributes:
        kind: Which kind they are.
    """

    kind: OutputKind

    @classmethod
    def of(cls, subject: ModelAndTexts) -> Meaning:
        """What the outputs of a subject mean; hidden states where nothing else is known."""
        if subject.trace.outputs is not None:
            return cls(subject.trace.outputs.kind)
        answering = subject.trace.card.architecture.endswith("ForQuestionAnswering")
        return cls(OutputKind.CLASSES if answering else OutputKind.HIDDEN)

    @property
    def causal(self) -> bool:
        """Whether a logit predicts the token after its position."""
        return self.kind is OutputKind.CAUSAL_LM

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What can be measured, the one that is ranked by unless another is asked for first."""
        match self.kind:
            case OutputKind.HIDDEN:
                return (Measure.COSINE,)
            case OutputKind.SCORE:
                return (Measure.SCORE,)
        return (Measure.LOSS, Measure.KL, Measure.FLIPS, Measure.RANK)

    def answers(self, returned: Any) -> torch.Tensor:
        """What a model returned as [row, place, choice] logits, or [row, place, width] hidden states."""
        if isinstance(getattr(returned, "end_logits", None), torch.Tensor):  # two answers, each a place in the text
            return torch.stack([returned.start_logits, returned.end_logits], dim=1)
        output = main_output(returned)
        if output is None:
            raise CannotTraceError("the model returns no tensor to compare", "maskviz compares logits or hidden states")
        if output.ndim == 2:
            output = output[:, None]
        if self.kind is OutputKind.LABELS:  # each label is a choice between yes and no
            return torch.stack([output, torch.zeros_like(output)], dim=-1).flatten(1, 2)
        return output


class Yardstick:
    """The plain outputs of one text, and how far others are from them."""

    def __init__(self, meaning: Meaning, returned: Any, side: Batch, answer: HiddenToken | None = None) -> None:
        """Keep what a plain run of one row returned.

        Args:
            meaning: What the outputs mean.
            returned: What the model returned.
            side: The batch that is predicted, one row.
            answer: The one place that is asked about, None for every place.
        """
        self._meaning, self._answer = meaning, answer
        plain = self._answers(returned)
        if plain.ndim != 3 or plain.shape[0] != 1:
            raise CannotTraceError(
                f"outputs of shape {tuple(plain.shape)} cannot be compared", "one row of logits or states is expected"
            )
        self._plain = plain[0].detach().float()
        self._truths = self._known(side)
        self.plain: Mapping[Measure, float] = {}
        if Measure.KL in meaning.measures:
            self._chances = self._plain.softmax(-1)
            self._log_sums = self._plain.logsumexp(-1)
            self._first = self._plain.argmax(-1)
            right = self._plain.gather(-1, self._truths.clamp_min(0)[:, None])
            self._above = (self._plain > right).sum(-1)
            known = self._truths >= 0
            if known.any():
                losses, ranks = (self._log_sums - right[:, 0])[known], (self._above + 1.0)[known]
                self.plain = {Measure.LOSS: float(losses.mean()), Measure.RANK: float(ranks.mean())}

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What can be measured on this text: without a known truth there is neither loss nor rank."""
        without_truth = (Measure.LOSS, Measure.RANK)
        known = bool((self._truths >= 0).any())
        return tuple(one for one in self._meaning.measures if known or one not in without_truth)

    def loss(self, returned: Any) -> torch.Tensor:
        """Mean loss in nats of one row, as a tensor that has a gradient."""
        answers = self._answers(returned)[0].float()
        return torch.nn.functional.cross_entropy(answers, self._truths, ignore_index=-1)

    def changes(self, returned: Any) -> Changes:
        """How far each row of what a model returned is from the plain run."""
        answers = self._answers(returned)
        if answers.shape[1:] != self._plain.shape:
            raise CannotTraceError(
                f"with heads silenced the outputs are {tuple(answers.shape[1:])} and not {tuple(self._plain.shape)}",
                "outputs whose length depends on content cannot be compared",
            )
        if self._meaning.kind is OutputKind.HIDDEN:
            return {Measure.COSINE: [self._turned(row) for row in answers]}
        if self._meaning.kind is OutputKind.SCORE:
            return {Measure.SCORE: [float((row.float() - self._plain).abs().mean()) for row in answers]}
        found: Changes = {measure: [] for measure in self.measures}
        for row in answers:
            for measure, value in self._of_row(row).items():
                found[measure].append(value)
        return found

    def _answers(self, returned: Any) -> torch.Tensor:
        """What a model returned at the places that are asked about, [row, place, choice or width]."""
        answers = self._meaning.answers(returned)
        return answers if self._answer is None else answers[:, self._answer.place : self._answer.place + 1]

    def _known(self, side: Batch) -> torch.Tensor:
        """int64 [place], the right choice where it is known, else -1: a text's tokens, or the plain run's answers."""
        truths = torch.full((len(self._plain),), -1, device=self._plain.device)
        if self._answer is not None:
            return truths.fill_(self._answer.truth)
        match self._meaning.kind:
            case OutputKind.HIDDEN | OutputKind.SCORE:
                return truths
            case OutputKind.CAUSAL_LM | OutputKind.MASKED_LM:
                known = predicted_tokens(side, self._meaning.causal) & (side.ids < self._plain.shape[-1])
                positions = np.flatnonzero(known[0])
                found = torch.as_tensor(side.ids[0, positions].copy(), device=truths.device)
                truths[positions - int(self._meaning.causal)] = found
                return truths
        return self._plain.argmax(-1)

    def _of_row(self, row: torch.Tensor) -> dict[Measure, float]:
        """The change of one row [place, choice], a few places at a time."""
        pieces = []
        step = max(1, _AT_ONCE // row.shape[-1])
        for start in range(0, len(row), step):
            some = slice(start, start + step)
            logits, plain, chances = row[some].float(), self._plain[some], self._chances[some]
            moved = torch.where(chances > 0, logits - plain, 0)
            expected = torch.bmm(chances[:, None], moved[..., None])[:, 0, 0]
            growth = logits.logsumexp(-1) - self._log_sums[some]
            truth = self._truths[some].clamp_min(0)[:, None]
            right = logits.gather(-1, truth)
            added = growth - (right - plain.gather(-1, truth))[:, 0]
            fallen = (logits > right).sum(-1) - self._above[some]
            flipped = logits.argmax(-1) != self._first[some]
            pieces.append(torch.stack([growth - expected, flipped.float(), added, fallen.float()]))
        divergence, flipped, added, fallen = torch.cat(pieces, dim=1)
        found = {Measure.KL: float(divergence.mean().clamp_min(0)), Measure.FLIPS: float(flipped.mean())}
        known = self._truths >= 0
        if known.any():
            found[Measure.LOSS] = float(added[known].mean())
            found[Measure.RANK] = float(fallen[known].mean())
        return found

    def _turned(self, states: torch.Tensor) -> float:
        """1 minus the mean cosine between hidden states [token, width] and the plain ones."""
        before, after = self._plain.double(), states.double()
        return 1 - float(torch.nn.functional.cosine_similarity(before, after, dim=-1).mean())


def measures_known(subject: ModelAndTexts) -> tuple[Measure, ...]:
    """What can be measured on every text of a subject, the one that is ranked by unless another is asked for first."""
    meaning = Meaning.of(subject)
    of_tokens = meaning.kind in (OutputKind.CAUSAL_LM, OutputKind.MASKED_LM)
    if of_tokens and not all(_has_truth(text, meaning) for text in subject.texts):
        return tuple(one for one in meaning.measures if one not in (Measure.LOSS, Measure.RANK))
    return meaning.measures


def _has_truth(text: AblatedText, meaning: Meaning) -> bool:
    return bool(text.masked) or bool(predicted_tokens(text.batch.decoder or text.batch, meaning.causal).any())
