"""Parameters that rule each other out, by their names; known without a heavy library, so that it is said at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from maskviz.core.errors import UsageError
from maskviz.core.words import Ablation, Measure, Method, Only
from maskviz.core.writing import either, parameter

# Two names, and why they do not go together.
Pair = tuple[str, str, str]

_WITHOUT_PROBE = (
    *("texts", "file", "ids", "inputs", "pair", "target", "target_ids", "max_length", "packed", "past", "words"),
    "token_types",
)
_WITHOUT_WORDS = ("ids", "target_ids", "past", "packed", "inputs")
OF_HEADS: tuple[Pair, ...] = (
    ("mean", "rollout", "one draws each layer, the other all of them together"),
    *(("probe", one, "the probe makes its own tokens") for one in _WITHOUT_PROBE),
    *(("words", one, "words are those of a text") for one in _WITHOUT_WORDS),
    ("rollout", "past", "it follows attention from the first token on"),
    *((maps, one, "it is of statistics") for maps in ("mean", "rollout") for one in ("by", "head")),
)
_OF_DETAIL: tuple[Pair, ...] = (
    ("all", "brief", "give one or the other"),
    ("lines", "brief", "give one or the other"),
    ("lines", "only", "masks have no lines"),
)


def refuse_together(given: Collection[str], pairs: Iterable[Pair]) -> None:
    """Refuse parameters that rule each other out.

    Args:
        given: Names of those that are given.
        pairs: Which rule each other out.

    Raises:
        UsageError: two of a pair are given.
    """
    for first, second, hint in pairs:
        if first in given and second in given:
            other = either("texts", "TEXT") if second == "texts" else parameter(second)
            raise UsageError(f"{parameter(first)} and {other} are given together", hint)


def refuse_detail(*, everything: bool, brief: bool, lines: bool, only: Only | None) -> None:
    """Refuse ways to draw a run that rule each other out.

    Raises:
        UsageError: two of them are asked for.
    """
    asked = {"all": everything, "brief": brief, "lines": lines, "only": only is Only.MASK}
    refuse_together({name for name, given in asked.items() if given}, _OF_DETAIL)


def refuse_slopes_beside(method: Method, measure: Measure | None, ablation: Ablation) -> None:
    """Refuse what a slope does not know.

    Raises:
        UsageError: a measure or an ablation beside slopes.
    """
    if method is Method.GRADIENT and (measure is not None or ablation is not Ablation.ZERO):
        raise UsageError(
            f"{parameter('method', 'gradient')} is the slope of the loss at open gates",
            f"leave out {parameter('measure')} and {parameter('ablation')}",
        )


def refuse_choices(keep: float | None, within: float | None) -> None:
    """Refuse two ways to choose a mask.

    Raises:
        UsageError: both are given.
    """
    if keep is not None and within is not None:
        raise UsageError(f"{parameter('keep')} and {parameter('within')} are given together", "give one or the other")


def refuse_export_beside(ablation: Ablation) -> None:
    """Refuse an export of heads that were not taken out.

    Raises:
        UsageError: something took the place of what they put out.
    """
    if ablation is not Ablation.ZERO:
        raise UsageError(
            f"{either('export(...)', '--export')} removes heads, which is {parameter('ablation', 'zero')}",
            f"leave out {parameter('ablation')}",
        )
