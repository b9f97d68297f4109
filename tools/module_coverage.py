"""Modules that attend, of torch and of other libraries, each beside its own way to say where it looks.

    python -m tools.module_coverage                      all; writes samples/module-coverage.md
    python -m tools.module_coverage --only timm,torch    some libraries, printed alone
    python -m tools.module_coverage --only timm --json   the same for a program

Libraries that are not installed are listed as such; tests/libraries.txt says how to have them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

import maskviz.api.trace  # noqa: F401  transformers looks for timm and torchvision: it is to find none
from maskviz.load.models.model import quiet
from tools.module_cases.case import Case, Row, measured
from tools.module_cases.libraries import LIBRARIES, found_there, is_installed, version_of
from tools.module_cases.of_libraries import CASES
from tools.module_cases.of_torch import cases as cases_of_torch

PAGE = Path(__file__).parents[1] / "samples" / "module-coverage.md"
# What float32 loses where the same attention is made in another order.
NEAR = 1e-5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and print or write the table; the exit code is 0 whatever is found."""
    parser = argparse.ArgumentParser(prog="python -m tools.module_coverage", description=__doc__)
    parser.add_argument("--only", default="", help="libraries, separated by commas; torch for what needs none")
    parser.add_argument("--json", action="store_true", help="print what was found for a program")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page is written")
    options = parser.parse_args(arguments)
    quiet()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found_there()
    only = [name for name in options.only.split(",") if name]
    rows = []
    for case in _cases(only):
        rows.append(measured(case))
        if not options.json:
            print(_line(rows[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    elif not only:
        options.page.write_text(page(rows), encoding="utf-8")
    return 0


def _cases(only: Sequence[str]) -> Iterator[Case]:
    if not only or "torch" in only:
        yield from cases_of_torch()
    for name, cases in CASES.items():
        if (not only or name in only) and is_installed(name):
            yield from cases()


def is_right(row: Row) -> bool:
    """Whether what was heard is what the module says, and a silenced head is one that nothing reads."""
    return not row.failed and row.apart is not None and row.apart < NEAR and (row.silenced or 0.0) < NEAR


def _line(row: Row) -> str:
    if row.failed:
        return f"{row.library}: {row.name}: {row.failed}"
    return f"{row.library}: {row.name}: {row.heard}, {row.calls} calls, {_number(row.apart)}, {_number(row.silenced)}"


def page(rows: Sequence[Row]) -> str:
    """The table for a reader, in Markdown."""
    right = sum(is_right(row) for row in rows)
    installed = [f"{name} {version_of(name)}" for name in CASES if is_installed(name)]
    missing = [name for name in LIBRARIES if not is_installed(name)]
    lines = [
        "# Coverage of modules",
        "",
        f"{right} of {len(rows)} kinds of modules are heard as they say it themselves, with torch "
        f"{torch.__version__.partition('+')[0]}{''.join(f', {one}' for one in installed)}.",
        "",
        "Each is tiny, with random weights, and runs in evaluation mode on two rows. *apart* is the largest difference "
        "of any weight of any head from the truth; *silenced* that of the module's outputs with the last head of each "
        "attention silenced from a module whose output projection does not read that head, where there is one. "
        "Windows of a row (Swin) are compared as blocks on the diagonal. Reproduce it with "
        "`python -m tools.module_coverage`; tests/libraries.txt says which libraries it looks for.",
        "",
        "| library | module | heard | calls | heads | truth | apart | silenced |",
        "|---|---|---|---:|---:|---|---:|---:|",
        *(_row(row) for row in rows),
    ]
    if missing:
        lines += ["", f"Not installed where this was written: {', '.join(missing)}."]
    lines += [
        "",
        "flash-attn and xformers run on a GPU alone. Their functions are heard under their public names, by their "
        "documented meaning: tests/tracing/modules/test_other_libraries.py holds that against stand-ins of the same "
        "signatures. Keras layers have tests of their own, against `return_attention_scores=True`.",
    ]
    return "\n".join(lines) + "\n"


def _row(row: Row) -> str:
    if row.failed:
        return f"| {row.library} | {row.name} | {_cell(row.failed)} | | | {row.truth} | | |"
    numbers = f"{row.calls} | {row.heads} | {row.truth} | {_number(row.apart)} | {_number(row.silenced)}"
    return f"| {row.library} | {row.name} | {row.heard} | {numbers} |"


def _number(found: float | None) -> str:
    """A difference as the power of ten above it: the digits before are those of one machine."""
    return "" if found is None else "0" if found == 0 else f"< 1e{math.ceil(math.log10(found))}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
