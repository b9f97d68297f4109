"""What the mask of a million tokens costs beside importing what draws it; run by `make bench`.

Whole processes that take turns, and the memory of each alone; a square of booleans would be 1 TB. Nothing is asserted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.show import spread

ROUNDS = 7
RULE = "causal & window(4096) & document"
MODULES = (
    "numpy",
    "maskviz.cli.app",
    "maskviz.view.masks.symbolic",
    "maskviz.analyse.sparsity",
    "maskviz.render.image.page",
)
IMPORTS = f"import {', '.join(MODULES)}"
LENGTHS = {1_000_000: "400000,350000", 10_000_000: "4000000,3500000"}


def cost(command: list[str]) -> tuple[float, float]:
    """Seconds of a process, and the largest memory it had, in GB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        for length, documents in LENGTHS.items():
            mask = [python, "-m", "maskviz", "mask", RULE, "--length", str(length), "--documents", documents]
            mask += ["-o", str(Path(folder) / "mask.png")]
            cost(mask)  # warm the file cache
            pairs = [(cost(mask), cost([python, "-c", IMPORTS])[0]) for _ in range(ROUNDS)]
            print(f"maskviz mask '{RULE}', {length:,} tokens, PNG, whole process:")
            print(f"  {spread([seconds for (seconds, _), _ in pairs], ' s')}")
            target = "; target 3 s" if length == 1_000_000 else ""
            print(f"  beyond its imports: {spread([own - imports for (own, _), imports in pairs], ' s')}{target}")
            target = "; target 1 GB" if length == 1_000_000 else ""
            print(f"  peak memory: {max(memory for (_, memory), _ in pairs):.2f} GB{target}")


if __name__ == "__main__":
    main()
