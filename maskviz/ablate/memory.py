"""How many rows of a text are run at once, and whether a text can be examined at all."""

from __future__ import annotations

from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.core.errors import CannotTraceError
from maskviz.core.machine import free_bytes
from maskviz.core.writing import parameter

# Tokens run together on a CPU: more rows of a text do not fit its cache, and win nothing.
_CPU_TOKENS = 1024
# Share of the model's own size, and of the free memory, that the logits of rows run together may take.
_OF_MODEL, _OF_FREE = 0.25, 0.2
# A row's logits are held as the model gives them, as the plain run's, as its probabilities, and once in between.
_COPIES = 4
# Share of the free memory a single row may take.
_SHARE = 0.7


def row_bytes(subject: ModelAndTexts, text: AblatedText) -> int:
    """Bytes that the outputs of one row of a text take in float32."""
    card = subject.trace.card
    return 4 * text.tokens * max(card.vocabulary or 0, 8 * (card.hidden_size or 0), 1)


def check_room(subject: ModelAndTexts) -> None:
    """Refuse texts whose outputs do not fit in memory, before any is run.

    Raises:
        CannotTraceError: the longest does not.
    """
    free = free_bytes()
    longest = max(subject.texts, key=lambda text: text.tokens)
    needed = _COPIES * row_bytes(subject, longest)
    if free is not None and needed > _SHARE * free:
        raise CannotTraceError(
            f"the outputs of {longest.tokens} tokens take about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            f"cut the texts: about {int(longest.tokens * _SHARE * free / needed)} tokens fit "
            f"({parameter('max_length')})",
        )


def rows_at_once(subject: ModelAndTexts, text: AblatedText) -> int:
    """How many rows of a text are run as one batch: their logits stay within a share of the model's own size."""
    row = row_bytes(subject, text)
    size = sum(parameter.numel() * parameter.element_size() for parameter in subject.model.parameters())
    room = max(_OF_MODEL * size, row, 1 << 26)
    free = free_bytes()
    if free is not None:
        room = min(room, _OF_FREE * free)
    rows = int(room // row)
    if subject.model.device.type == "cpu":
        rows = min(rows, _CPU_TOKENS // text.tokens)
    return max(1, subject.shards.least(rows))
