"""Every model type of the installed transformers that reads token ids, beside what the model itself returns.

    python -m tools.architectures                   all types; writes samples/coverage.md
    python -m tools.architectures --only t5,bert    a few types, with every cell that differs

Each type runs in a process of its own with a limit on time and memory: one that crashes is a line in the table.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

# One thread per process: the types run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from maskviz.load.models.model import quiet
from tools.apart import Limits, apart
from tools.comparing import Status, Verdict, examine
from tools.coverage_page import page, table
from tools.model_types import NEEDS_MORE, model_types

LIMITS = Limits(seconds=60, memory=10 << 30)
PAGE = Path(__file__).parents[1] / "samples" / "coverage.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the types asked for and print the table; the exit code is 0 whatever is found."""
    parser = argparse.ArgumentParser(prog="python -m tools.architectures", description=__doc__)
    parser.add_argument("--only", default="", help="model types, separated by commas")
    parser.add_argument("--jobs", type=int, default=2, help="types that run at the same time")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page is written")
    options = parser.parse_args(arguments)
    quiet()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    known = model_types()
    only = [name for name in options.only.split(",") if name]
    unknown = [name for name in only if name not in known]
    if unknown:
        parser.error(f"no model type {', '.join(unknown)} reads token ids")
    verdicts = {}
    for verdict in _verdicts(only or [name for name in known if name not in NEEDS_MORE], options.jobs):
        verdicts[verdict.name] = verdict
        if only:
            _detailed(verdict)
        else:
            print(f"{len(verdicts):4} {verdict.name}: {verdict.status} {verdict.reason}"[:200], flush=True)
    ordered = [verdicts[name] for name in sorted(verdicts)]
    if not only:
        print(table(ordered))
        options.page.write_text(page(ordered), encoding="utf-8")
    return 0


def _detailed(verdict: Verdict) -> None:
    print(f"{verdict.name} ({verdict.architecture}, {verdict.family}): {verdict.status}, against {verdict.source}")
    for line in (*verdict.rules, *verdict.silent, *verdict.details):
        print(f"  {line}")
    print(f"  without weights: {verdict.weightless} {verdict.weightless_reason}")


def _verdicts(names: list[str], jobs: int) -> Iterator[Verdict]:
    """The verdict on each type, in the order they finish; every process is ended before its time limit is over."""
    for name, found in apart(names, _examined, jobs, LIMITS):
        yield Verdict(name, Status.NOT_BUILT, reason=found) if isinstance(found, str) else found


def _examined(name: str) -> Verdict:
    return examine(model_types()[name])


if __name__ == "__main__":
    sys.exit(main())
