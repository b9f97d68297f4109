"""A saved run, or a mask file, in place of texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from maskviz.cli.parsing.groups import GivenOptions
from maskviz.core.errors import UsageError

if TYPE_CHECKING:
    pass


MASK_SUFFIXES = (".npy", ".pt", ".safetensors")


def saved_run(typed: GivenOptions, texts: list[str] | None, beside: frozenset[str]) -> Path | None:
    """The saved run that is named in place of a text.

    Args:
        typed: What of the command was typed.
        texts: Its texts.
        beside: Names of the parameters that go with a saved run.

    Raises:
        UsageError: something of how a run is made is given with it.
    """
    return _in_place(typed, texts, (".npz",), beside, ("a saved run", "name the run alone", "it is as it was saved"))


def mask_in_place(typed: GivenOptions, texts: list[str] | None, beside: frozenset[str]) -> Path | None:
    """The mask file that is named in place of a text; the rest is as of a saved run."""
    words = ("a mask file alone", "name the file alone", "with -m, texts and --mask a model is run with it")
    return _in_place(typed, texts, MASK_SUFFIXES, beside, words)


def _in_place(
    typed: GivenOptions,
    texts: list[str] | None,
    suffixes: tuple[str, ...],
    beside: frozenset[str],
    words: tuple[str, str, str],
) -> Path | None:
    """The file with one of these suffixes; `words` say what it is and what to do where something else is given too."""
    if not texts or not any(text.endswith(suffixes) for text in texts):
        return None
    what, alone, hint = words
    if len(texts) > 1:
        raise UsageError(f"{what} and other texts are given together", alone)
    other = typed.besides(beside)
    if other is not None:
        raise UsageError(f"--{other.replace('_', '-')} does not go with {what}", hint)
    return Path(texts[0])
