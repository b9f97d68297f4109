"""What listening to a module costs beside the same module asked for its weights in its own way; run by `make bench`.

Each measurement is a process of its own, whose largest memory is then its own; those of a line take turns. A module's
own way is `need_weights=True, average_attn_weights=False` in every layer, or the hand-written block that returns its
weights. The trace is what `maskviz.trace` does: a plain run, a run that is listened to, masks with their reasons. Long
inputs are added up in 128 x 128 tiles, beside the plain call. Nothing is asserted: machines differ.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import maskviz
from maskviz.core.run.trace import ModelCard
from maskviz.tracing.long.tally import Keeping
from maskviz.tracing.modules.heard import Hearing
from maskviz.tracing.modules.pooled import pool_module
from maskviz.tracing.modules.reading import Known
from maskviz.tracing.modules.subjects import TorchSubject

WIDTH, HEADS, LAYERS, ROWS, LENGTH = 512, 8, 6, 8, 256
LONG = 16_384
ROUNDS = 3


class Block(nn.Module):
    """Causal attention as nanoGPT writes it, fused or by hand; `weights` holds what the softmax gave."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.n_head, self.fused, self.keeps = HEADS, fused, False
        self.norm, self.projections, self.output = (
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, 3 * WIDTH),
            nn.Linear(WIDTH, WIDTH),
        )
        self.feed = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.weights: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, _ = x.shape
        query, key, value = (
            part.view(rows, length, HEADS, -1).transpose(1, 2)
            for part in self.projections(self.norm(x)).split(WIDTH, 2)
        )
        if self.fused:
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            later = torch.ones(length, length, dtype=torch.bool).triu(1)
            scores = (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).masked_fill(later, float("-inf"))
            weights = scores.softmax(-1)
            self.weights = weights.clone() if self.keeps else None
            mixed = weights @ value
        x = x + self.output(mixed.transpose(1, 2).reshape(rows, length, WIDTH))
        put_out: torch.Tensor = x + self.feed(x)
        return put_out


def blocks(fused: bool) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(Block(fused) for _ in range(LAYERS))).eval()


def encoder() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, batch_first=True)
    return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False).eval()


def own_way_of_encoder(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The layers one by one, each asked for the weights of its heads."""
    found = []
    layers: Any = module.layers
    for layer in layers:
        mixed, weights = layer.self_attn(x, x, x, need_weights=True, average_attn_weights=False)
        found.append(weights.clone())
        x = layer.norm1(x + mixed)
        x = layer.norm2(x + layer.linear2(layer.activation(layer.linear1(x))))
    return found


def own_way_of_blocks(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Blocks by hand, each keeping the weights of its softmax."""
    for block in module.children():
        block.keeps = True  # type: ignore[assignment]
    module(x)
    return [block.weights for block in module.children()]  # type: ignore[misc]


def heard(module: nn.Module, x: torch.Tensor) -> Hearing:
    hearing = Hearing()
    TorchSubject(module, (x,)).heard(hearing)
    return hearing


def pooled(module: nn.Module, x: torch.Tensor) -> object:
    known = Known(ModelCard("blocks", "Sequential", "torch module", False, (), (), ()), leading=len(x))
    return pool_module(TorchSubject(module, (x,)), known, lambda length: Keeping(-(-length // 128)))


def plain(module: nn.Module, x: torch.Tensor) -> object:
    return module(x)


def traced(module: nn.Module, x: torch.Tensor) -> object:
    return maskviz.trace(module, (x,))


def long_blocks() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Block(fused=True)).eval()


Way = Callable[[nn.Module, torch.Tensor], object]
CASES: dict[str, tuple[Callable[[], nn.Module], Way, tuple[int, int]]] = {
    "encoder own": (encoder, own_way_of_encoder, (ROWS, LENGTH)),
    "encoder heard": (encoder, heard, (ROWS, LENGTH)),
    "encoder traced": (encoder, traced, (ROWS, LENGTH)),
    "by hand own": (lambda: blocks(fused=False), own_way_of_blocks, (ROWS, LENGTH)),
    "by hand heard": (lambda: blocks(fused=False), heard, (ROWS, LENGTH)),
    "by hand traced": (lambda: blocks(fused=False), traced, (ROWS, LENGTH)),
    "fused heard": (lambda: blocks(fused=True), heard, (ROWS, LENGTH)),
    "fused traced": (lambda: blocks(fused=True), traced, (ROWS, LENGTH)),
    "long plain": (long_blocks, plain, (1, LONG)),
    "long pooled": (long_blocks, pooled, (1, LONG)),
}


def measure(name: str) -> tuple[float, int]:
    """Seconds of one call, the quickest of three, and the most bytes the process ever held."""
    build, way, size = CASES[name]
    module, x = build(), torch.randn(*size, WIDTH, generator=torch.Generator().manual_seed(0))
    seconds = []
    with torch.no_grad():
        module(x[:, :16])
        for _ in range(1 if size[1] == LONG else 3):
            start = time.perf_counter()
            kept = way(module, x)
            seconds.append(time.perf_counter() - start)
            del kept
    return min(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def apart(name: str) -> tuple[float, int]:
    """The same in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "tools.modules", name], check=True, capture_output=True, text=True)
    seconds, most = json.loads(done.stdout)
    return seconds, most


def beside(title: str, own: str, others: tuple[str, ...], rounds: int = ROUNDS) -> None:
    """Print each of several beside the first, taking turns."""
    taken: dict[str, list[tuple[float, int]]] = {name: [] for name in (own, *others)}
    for _ in range(rounds):
        for name in taken:
            taken[name].append(apart(name))
    base = statistics.median(seconds for seconds, _ in taken[own]), statistics.median(most for _, most in taken[own])
    print(f"{title}: {own} {base[0]:.2f} s, {base[1] / 2**20:.0f} MiB")
    for name in others:
        seconds = statistics.median(seconds for seconds, _ in taken[name])
        most = statistics.median(most for _, most in taken[name])
        print(f"  {name}: {seconds / base[0]:.2f} x the time, {most / base[1]:.2f} x the memory")


def main() -> None:
    size = f"{LAYERS} layers, {HEADS} heads, {ROWS} x {LENGTH} positions"
    beside(f"nn.TransformerEncoder, {size}", "encoder own", ("encoder heard", "encoder traced"))
    beside(f"attention by hand, {size}", "by hand own", ("by hand heard", "by hand traced"))
    beside(f"fused attention, {size}, beside the same by hand", "by hand own", ("fused heard", "fused traced"))
    beside(f"one fused layer, {LONG} positions", "long plain", ("long pooled",), rounds=1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
