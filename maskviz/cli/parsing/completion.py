"""What a shell offers behind an option; knows no heavy library, since every key press waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from maskviz.cli.parsing.usage import Declared
from maskviz.core.words import Backend, Dialect

Offer = Callable[[str], list[str]]

# Options that name a model, and arguments that do.
_MODELS = frozenset({"--model", "--against", "--tokenizer", "MODEL"})
_WORDS = {
    "--device": ("auto", "cpu", "cuda", "mps", "xpu"),
    "--dtype": ("auto", "float32", "float16", "bfloat16"),
    "--attn": tuple(Backend),
    "--to": (*Dialect, "python"),
    "--by": ("importance", "gradient"),
}


def offer_of(declared: Declared) -> Offer | None:
    """What completes the value of an option; None where only the user knows."""
    if declared.flag:
        return None
    if declared.choices:
        return _one_of(declared.choices)
    if _MODELS & set(declared.names):
        return _models
    if declared.names[0] in ("--select", "--ignore"):
        return _rules
    if declared.kind is Path or declared.written in ("RUN", "--outputs"):
        return _files
    words = _WORDS.get(declared.written, ())
    return _one_of(words) if words else None


def _one_of(words: Iterable[str]) -> Offer:
    def offer(incomplete: str) -> list[str]:  # typer reads the names of its parameters
        return _beginning(words, incomplete)

    return offer


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _models(incomplete: str) -> list[str]:
    """Demo models, models in the local hub cache, and files and folders here."""
    from maskviz.demo import NAMES
    from maskviz.load.models.cached import cached_models

    named = (*(f"demo:{name}" for name in NAMES), *cached_models())
    return [*_beginning(named, incomplete), *_files(incomplete)]


def _files(incomplete: str) -> list[str]:
    """Files and folders, a folder with its slash."""
    place = Path(incomplete)
    folder, start = (place, "") if incomplete.endswith("/") else (place.parent, place.name)
    front = incomplete[: len(incomplete) - len(start)]
    try:
        found = sorted(one for one in folder.iterdir() if one.name.startswith(start))
    except OSError:
        return []
    return [f"{front}{one.name}{'/' if one.is_dir() else ''}" for one in found if start or not one.name.startswith(".")]


def _rules(incomplete: str) -> list[str]:
    """Rules of `check`, behind those that were typed before a comma."""
    from maskviz.core.checks.known import TRAPS

    front, comma, last = incomplete.rpartition(",")
    return [f"{front}{comma}{rule}" for rule in TRAPS if rule.startswith(last.upper())]
