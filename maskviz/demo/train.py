"""Train the demo models and write them as Hugging Face folders.

    python -m maskviz.demo.train [bert gpt t5] [--out DIR] [--jobs N]

Sizes, steps and rates are in `PLANS` and `architectures.py`; the seed is `SEED`. Two models are trained at a time, one
CPU core each, so that all three take as long as bert, 16 minutes. The shipped models took, on a machine that other
work shared:

    bert  810,880 parameters  6,800 steps  962 s  held-out loss 0.906 nats
    gpt   659,840 parameters  2,000 steps  553 s  held-out loss 0.544 nats, previous token 0.98, induction 0.98
    t5    850,688 parameters  2,500 steps  203 s  held-out loss 0.271 nats, 80 % of lines said backwards

The last lines of each training print the loss, the scores of all heads of gpt and the share of lines that t5 gets
right, measured on the folder as written, with a seed that the training does not use.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from maskviz.demo import NAMES
from maskviz.demo.architectures import build
from maskviz.demo.batches import Batch, batches, lines
from maskviz.demo.corpus import texts
from maskviz.demo.scores import head_table, mean_loss, score_heads, share_reversed
from maskviz.demo.tokenizing import learn_tokenizer

SEED = 1
HELD_OUT_SEED = 1_000_003
WARMUP = 100  # steps


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How long and how fast one model learns, and from what.

    Attributes:
        steps: Number of batches.
        rate: Peak learning rate, reached after `WARMUP` steps and then lowered along a cosine.
        pool: Number of passages the batches are drawn from.
        hidden: Share of the tokens that bert must guess, in 0..1.
    """

    steps: int
    rate: float
    pool: int = 20_000
    hidden: float = 0.2


# Plans of one model follow each other, each with a seed and an optimizer of its own.
PLANS = {
    "bert": (
        TrainingPlan(2600, 1e-3, pool=60_000),
        TrainingPlan(2000, 1.5e-3, pool=60_000, hidden=0.35),
        TrainingPlan(2200, 1.5e-3, pool=60_000, hidden=0.35),
    ),
    "gpt": (TrainingPlan(2000, 4e-3),),
    "t5": (TrainingPlan(2500, 2e-3),),
}
LOADERS = {"bert": AutoModelForMaskedLM, "gpt": AutoModelForCausalLM, "t5": AutoModelForSeq2SeqLM}


def train(name: str, out: Path) -> None:
    """Train one demo model from nothing on one core, write it to `out/name` and print what it has learned."""
    torch.set_num_threads(1)  # the same sums in the same order, whatever the machine
    torch.manual_seed(SEED)
    started = time.monotonic()
    tokenizer = learn_tokenizer(name, texts(SEED, 20_000))
    model = build(name, tokenizer)
    for seed, plan in enumerate(PLANS[name], start=SEED):
        fit(model, batches(name, tokenizer, seed, plan.pool, plan.hidden), plan)
    folder = out / name
    write(model, tokenizer, folder)
    print(f"{name}: {model.num_parameters():,} parameters, {time.monotonic() - started:.0f} s")
    report(name, folder)


def fit(model: PreTrainedModel, source: Iterator[Batch], plan: TrainingPlan) -> None:
    """Train the model in place, with AdamW, a warm-up and a cosine."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_rate(step, plan.steps))
    started = time.monotonic()
    for step, batch in enumerate(islice(source, plan.steps), start=1):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            seconds = time.monotonic() - started
            print(f"  {model.config.model_type}: step {step:5d}  loss {loss.item():.3f}  {seconds:.0f} s", flush=True)
    model.train(False)


def _share_of_rate(step: int, steps: int) -> float:
    """Warm up in a straight line, then go down along a cosine to a hundredth of the peak."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    progress = (step - WARMUP) / max(1, steps - WARMUP)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a Hugging Face folder whose weights are stored in 16 bits and load in 32."""
    model.half()
    model.save_pretrained(folder)
    _amend(folder / "config.json", dtype="float32")
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone
    tokenizer.save_pretrained(folder)
    # The name that every version of transformers knows.
    _amend(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")


def _amend(file: Path, **settings: str) -> None:
    """Change settings in a JSON file."""
    changed = json.loads(file.read_text()) | settings
    file.write_text(json.dumps(changed, indent=2, ensure_ascii=False) + "\n")


def report(name: str, folder: Path) -> None:
    """Load a folder as a user would, and print its size, its loss and the scores of its heads."""
    model = LOADERS[name].from_pretrained(folder, attn_implementation="eager")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    loss = mean_loss(model, batches(name, tokenizer, HELD_OUT_SEED, pool=2000, hidden=0.15))
    print(f"{name}: {size:,} bytes, held-out loss {loss:.3f} nats")
    if name == "gpt":
        scores = score_heads(model, HELD_OUT_SEED)
        print(f"previous token\n{head_table(scores.previous)}\ninduction\n{head_table(scores.induction)}")
    if name == "t5":
        share = share_reversed(model, tokenizer, lines(HELD_OUT_SEED, 200))
        print(f"t5: {share:.0%} of 200 held-out lines said backwards without a fault")


def _known(name: str) -> str:
    """The name itself, if a demo model has it; argparse cannot mix `choices` with an empty list of names."""
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(NAMES)}")
    return name


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train the models it names."""
    parser = argparse.ArgumentParser(description="Train the demo models.")
    parser.add_argument("names", nargs="*", type=_known, metavar="bert|gpt|t5")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models")
    parser.add_argument("--jobs", type=int, default=2, help="models to train at a time, one CPU core each")
    options = parser.parse_args(arguments)
    names = options.names or NAMES
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(train, names, [options.out] * len(names)))


if __name__ == "__main__":
    main()
