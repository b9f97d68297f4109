"""What a weightless run costs beside importing the libraries it runs on; run by `make bench`.

The config has 126 layers and 405 billion parameters, the text 64 tokens. Ratios are of whole processes that take turns.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 5
CONFIG = Path(__file__).parents[1] / "samples" / "weightless" / "llama-405b.json"
IMPORTS = {
    "importing torch and transformers' models": "import torch; from transformers import AutoModel, PreTrainedModel",
    "importing torch and transformers, which imports no models": "import torch, transformers",
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    text = " ".join(f"word{place}" for place in range(64))
    show = [sys.executable, "-m", "maskviz", "show", "-m", str(CONFIG), text]
    for name, imports in IMPORTS.items():
        ratios = []
        for _ in range(ROUNDS):
            baseline = seconds([sys.executable, "-c", imports])
            ratios.append(seconds(show) / baseline)
        ratios.sort()
        median = statistics.median(ratios)
        print(
            f"weightless run of {CONFIG.name}, 64 tokens: {median:.2f} x {name} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"peak memory of the largest of these processes: {peak / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
