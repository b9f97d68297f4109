"""The masks of every model type of the installed transformers as one page, docs/atlas.html.

    python -m tools.atlas                 all types are measured; writes the page
    python -m tools.atlas --page          the page is written anew around the data that are in it
    python -m tools.atlas --only t5,bert  a few types, printed as the data have them

Each type runs in a process of its own with a limit on time and memory: one that crashes is a line of the page.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

# One thread per process: the types run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from maskviz.load.models.model import quiet
from tools.apart import Limits, apart
from tools.atlas.data import atlas_of, data_text
from tools.atlas.measure import Record, measured
from tools.atlas.page import PAGE, atlas_page, data_in
from tools.model_types import model_types

# A default config has 180 s of these (measure.py); a tiny model takes seconds.
LIMITS = Limits(seconds=300, memory=10 << 30)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the page or print the data."""
    parser = argparse.ArgumentParser(prog="python -m tools.atlas", description=__doc__)
    parser.add_argument("--only", default="", help="model types, separated by commas")
    parser.add_argument("--jobs", type=int, default=2, help="types that run at the same time")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the page around its data")
    parser.add_argument("--to", type=Path, default=PAGE, help="where the page is written")
    options = parser.parse_args(arguments)
    if options.page:
        options.to.write_text(atlas_page(data_in(PAGE.read_text("utf-8"))), encoding="utf-8")
        return 0
    quiet()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    only = [name for name in options.only.split(",") if name]
    unknown = [name for name in only if name not in model_types()]
    if unknown:
        parser.error(f"no model type {', '.join(unknown)} reads token ids")
    data = atlas_of(list(_records(only or list(model_types()), options.jobs)))
    if only:
        print(data_text(data))
    else:
        options.to.write_text(atlas_page(data), encoding="utf-8")
    return 0


def _records(names: list[str], jobs: int) -> list[Record]:
    """What was measured of each type, in the order of their names."""
    records = {}
    for name, found in apart(names, measured, jobs, LIMITS):
        record = {"name": name, "problem": found} if isinstance(found, str) else found
        records[name] = record
        print(f"{len(records):4} {name} {record.get('problem', '')}".rstrip(), file=sys.stderr, flush=True)
    return [records[name] for name in sorted(records)]


if __name__ == "__main__":
    sys.exit(main())
