"""What a model reads beside tokens, or in their place, and what is said of models that maskviz cannot give it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from maskviz.core.errors import CannotTraceError
from maskviz.core.writing import parameter
from maskviz.load.models.card import text_part

# What models call their token ids; Perceiver's forward takes "inputs".
IDS = ("input_ids", "inputs")
# What their other inputs are, by parts of their names.
_SENSES = {
    "images": ("pixel", "image", "visual"),
    "videos": ("video",),
    "sound": ("input_features", "input_values", "audio", "speech", "spectrogram"),
    "another model's states": ("shared_kv_states",),
    "time series": ("past_values", "time_series", "past_observed"),
}
# Names with such a part that hold no picture and no sound.
_OF_SOMETHING = ("mask", "size", "grid", "position", "labels", "embeds", "hidden", "outputs", "_ids", "length", "loss")


def check_reads_text(model: PreTrainedModel) -> None:
    """Refuse a model whose input is something else than tokens.

    Raises:
        CannotTraceError: it is.
    """
    main, name = model.main_input_name, type(model).__name__
    if main in IDS:
        return
    sense = next((sense for sense, parts in _SENSES.items() if any(part in main for part in parts)), main)
    beside = " with its text" if "input_ids" in inspect.signature(model.forward).parameters else ""
    raise CannotTraceError(
        f"{name} reads {sense}{beside}, which is not shown yet",
        "maskviz shows models that read text, or text and images together",
    )


def senses_of(model: PreTrainedModel, without: Mapping[str, Any]) -> tuple[str, ...]:
    """What a model's forward takes beside tokens, such as "images", of which nothing is among some inputs."""
    takes = [name for name in inspect.signature(model.forward).parameters if not _is_of_something(name)]
    found = []
    for sense, parts in _SENSES.items():
        names = [name for name in takes if any(part in name for part in parts)]
        if names and not any(name in without for name in names):
            found.append(sense)
    codebooks = getattr(text_part(model.config), "num_codebooks", None) or getattr(model.config, "num_codebooks", None)
    if isinstance(codebooks, int) and codebooks > 1:
        found.append(f"sound as the codes of {codebooks} codebooks")
    return tuple(found)


@contextmanager
def on_text_alone(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Iterator[None]:
    """Where a model fails in the block on tokens, and reads more than these, that is what is said.

    Raises:
        CannotTraceError: it fails.
    """
    try:
        yield
    except CannotTraceError as error:
        senses, name = senses_of(model, inputs), type(model).__name__
        if error.__cause__ is None or isinstance(error.__cause__, CannotTraceError):
            raise
        if needed := _needed(model, inputs):
            raise CannotTraceError(
                f"{name} cannot be run on text alone: it needs {needed}", "it is run by another model, or by generate()"
            ) from error
        if not senses or not _for_want_of_it(error.__cause__, senses):
            raise
        hint = (
            f"add {parameter('image')} FILE; its processor must lie beside it"
            if "images" in senses
            else "it is not shown yet"
        )
        also = "" if senses[-1].startswith("sound as") else "also "
        raise CannotTraceError(
            f"{name} cannot be run on text alone: it {also}reads {' and '.join(senses)}", hint
        ) from error


def _for_want_of_it(cause: BaseException, senses: tuple[str, ...]) -> bool:
    """Whether what a model raised is about an input that was not there, or about codes of sound."""
    said = str(cause).lower()
    words = (
        "none",
        "missing",
        "must be",
        "have to",
        "has to",
        *(part for one in senses for part in _SENSES.get(one, ())),
    )
    return senses[-1].startswith("sound as") or any(word in said for word in words)


def _needed(model: PreTrainedModel, inputs: Mapping[str, Any]) -> str:
    """What a model's forward must be given and is not, by name; empty where there is nothing."""
    if type(model).forward is torch.nn.Module.forward:
        return "a caller for each of its parts, having no forward of its own"
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return ", ".join(
        name
        for name, one in inspect.signature(model.forward).parameters.items()
        if one.default is one.empty and one.kind not in kinds and name not in inputs
    )


def _is_of_something(name: str) -> bool:
    return any(part in name for part in _OF_SOMETHING)
