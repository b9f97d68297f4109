"""The coverage table, printed and as samples/coverage.md."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import transformers

from maskviz.core.writing import ranges
from tools.comparing import Status, Verdict, Weightless
from tools.families import Family
from tools.model_types import NEEDS_MORE, model_types
from tools.own_attention import MODULES, NOTHING

COMMAND = "python -m tools.architectures"


def table(verdicts: Sequence[Verdict]) -> str:
    """Counts by family, k of N, and every failure with its reason."""
    tried = _tried(verdicts)
    lines = [f"{'family':<22}{'right':>7}{'of':>6}"]
    for family in Family:
        of_family = [one for one in tried if one.family is family]
        right = sum(one.status is Status.RIGHT for one in of_family)
        lines.append(f"{family:<22}{right:>7}{len(of_family):>6}")
    lines.append(f"{_right(tried)} of {len(tried)} types are shown as the model runs them")
    for status in (Status.WRONG, Status.NOT_COMPARABLE, Status.NOT_BUILT):
        failed = [one for one in verdicts if one.status is status]
        lines += [
            "",
            f"{status}: {len(failed)}",
            *(f"  {one.name} ({one.architecture}): {one.reason}" for one in failed),
        ]
    differing = [one for one in verdicts if one.weightless is Weightless.DIFFERENT]
    lines += ["", f"without weights: {_weightless(verdicts)}"]
    lines += [f"  {one.name}: {one.weightless_reason}" for one in differing]
    return "\n".join(lines)


def page(verdicts: Sequence[Verdict]) -> str:
    """The same for a reader, in Markdown; the same verdicts give the same page."""
    tried = _tried(verdicts)
    lines = [
        "# Coverage",
        "",
        f"{_right(tried)} of {len(tried)} model types are shown exactly as the model runs them, with transformers "
        f"{transformers.__version__} and torch {torch.__version__.partition('+')[0]}.",
        "",
        "Every type whose classes read `input_ids` gets a tiny model with random weights and a padded batch of three "
        "rows. What maskviz shows is compared with what the model itself returns under `output_attentions=True`: each "
        "`pattern` to 1e-5, and `visible` cell by cell, on the rows of real tokens. Reproduce it with "
        f"`{COMMAND}`; `--only TYPE` shows every cell that differs.",
        "",
        "| family | right | of |",
        "|---|---:|---:|",
    ]
    for family in Family:
        of_family = [one for one in tried if one.family is family]
        lines.append(f"| {family} | {_right(of_family)} | {len(of_family)} |")
    lines += ["", f"Without weights: {_weightless(verdicts)}."]
    lines += _section("Not right yet", [one for one in verdicts if one.status is Status.WRONG])
    lines += _section("Not comparable", [one for one in verdicts if one.status is Status.NOT_COMPARABLE])
    lines += _section("Not tried", [one for one in verdicts if one.status is Status.NOT_BUILT])
    lines += _silent(verdicts)
    lines += ["", "## Types that need more than token ids", "", "| type | needs |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in sorted(NEEDS_MORE.items()) if name in model_types()]
    modules = [one.name for one in verdicts if one.source == MODULES]
    if modules:
        lines += ["", "## Compared with the model's attention modules", ""]
        lines += [
            "These pass on only some of the maps that their attention modules return, so those are the truth:",
            "",
        ]
        lines += [", ".join(f"`{name}`" for name in modules) + "."]
    lines += _partly(verdicts)
    nothing = [one.name for one in verdicts if one.source == NOTHING]
    if nothing:
        lines += ["", "## Types that return no attention", ""]
        lines += [", ".join(f"`{name}`" for name in nothing) + "."]
    return "\n".join(lines) + "\n"


def _section(title: str, verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return []
    rows = [f"| `{one.name}` | {one.architecture} | {_cell(one.reason)} |" for one in verdicts]
    return ["", f"## {title}", "", "| type | class | reason |", "|---|---|---|", *rows]


def _silent(verdicts: Sequence[Verdict]) -> list[str]:
    found = [one for one in verdicts if one.silent]
    if not found:
        return []
    rows = [f"| `{one.name}` | {_cell(_grouped(one.silent))} |" for one in found]
    return ["", "## Layers without an attention matrix", "", "| type | layers |", "|---|---|", *rows]


# What a model returns too little of to compare every number.
PARTLY = {
    "big_bird": "out of training its random blocks fall on the first one, which then counts twice; the map it returns "
    "keeps one share, so rows of it that sum to less than 1 are compared by their cells",
    "bigbird_pegasus": "as big_bird",
    "lilt": "a layer attends twice, to text and to layout; the map it returns is one of the two",
    "reformer": "the order of a hashed layer's buckets is not returned: its local layers are compared",
}


def _partly(verdicts: Sequence[Verdict]) -> list[str]:
    found = [one.name for one in verdicts if one.name in PARTLY]
    if not found:
        return []
    rows = [f"| `{name}` | {PARTLY[name]} |" for name in found]
    return ["", "## Compared in part", "", "| type | why |", "|---|---|", *rows]


def _grouped(silent: Sequence[str]) -> str:
    """Lines such as "decoder 3: linear attention", those of one stack and kind as one."""
    groups: dict[tuple[str, str], list[int]] = {}
    for line in silent:
        where, _, kind = line.partition(": ")
        stack, _, layer = where.partition(" ")
        groups.setdefault((stack, kind), []).append(int(layer))
    return "; ".join(f"{stack} {ranges(layers)}: {kind}" for (stack, kind), layers in groups.items())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _tried(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return [one for one in verdicts if one.status in (Status.RIGHT, Status.WRONG)]


def _right(verdicts: Sequence[Verdict]) -> int:
    return sum(one.status is Status.RIGHT for one in verdicts)


def _weightless(verdicts: Sequence[Verdict]) -> str:
    ran = [one for one in verdicts if one.weightless in (Weightless.SAME, Weightless.DIFFERENT)]
    if not ran:
        return "not there yet"
    return f"{sum(one.weightless is Weightless.SAME for one in ran)} of {len(ran)} are the same as with them"
