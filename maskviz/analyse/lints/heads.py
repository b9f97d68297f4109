"""Rules about ablated heads: somebody's outputs beside the right ones and the known wrong ones."""

from __future__ import annotations

from collections.abc import Iterator

from maskviz.analyse.lints.found import found
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Confidence, Finding
from maskviz.core.checks.lint import Lint, Need


def ablated_after_projection(case: Case) -> Iterator[Finding]:
    """H1: outputs that are those of slices of the projection's result set to zero."""
    one = case.ablated
    if one is None or one.after_projection is None or one.right <= one.noticeable:
        return
    if one.after_projection <= one.noticeable:
        yield found(
            "H1",
            one.name,
            f"these are the outputs with heads {one.heads} zeroed behind the output projection",
            measured=f"off by up to {one.right:.2g} from those with the heads silenced, and by "
            f"{one.after_projection:.2g} from those with the slices behind the projection zeroed",
            confidence=Confidence.MEASURED,
        )


def heads_taken_in_turn(case: Case) -> Iterator[Finding]:
    """H3: outputs that are those of the query heads h % key heads instead of h // group."""
    one = case.ablated
    if one is None or one.in_turn is None or one.right <= one.noticeable:
        return
    if one.in_turn <= one.noticeable:
        yield found(
            "H3",
            one.name,
            f"these are the outputs with other query heads silenced than {one.heads}: every n-th instead of a group",
            measured=f"off by up to {one.right:.2g} from those with the groups silenced, and by {one.in_turn:.2g} from "
            "those with every n-th head silenced",
            confidence=Confidence.MEASURED,
        )


LINTS: tuple[Lint, ...] = (
    Lint("H1", ablated_after_projection, (Need.ABLATED,)),
    Lint("H3", heads_taken_in_turn, (Need.ABLATED,)),
)
