"""What is to be encoded, which parts of it go together, and whether the model reads it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.writing import either, parameter
from maskviz.load.models.card import text_part


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be encoded.

    Attributes:
        texts: One text per row, or empty where ids are given.
        pairs: Second texts, one per row, or empty.
        ids: Rows of raw ids instead of texts; no special tokens are added.
        targets, target_ids: The decoder's texts or raw ids, one per row, or empty.
        padding_side: "left", "right", or None for the tokenizer's own.
        pad_to: Length every row is padded to, or None for the longest row's.
        max_length: Length rows are cut to, or None.
        cumulative_positions: Whether position ids count real tokens, as `generate()` passes them.
        images: Pictures, one per text, one for all, or several for a single text; or empty.
        token_types: The types of each row's tokens, one row per text, or empty for the tokenizer's own.
        packed: Whether the texts share one row, with positions that restart and no attention mask.
        no_cache: Whether the model is called with `use_cache=False`.
        inputs: File of the arguments of the model's forward, in place of texts and ids; or None.
    """

    texts: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    ids: tuple[tuple[int, ...], ...] = ()
    targets: tuple[str, ...] = ()
    target_ids: tuple[tuple[int, ...], ...] = ()
    padding_side: str | None = None
    pad_to: int | None = None
    max_length: int | None = None
    cumulative_positions: bool = False
    images: tuple[Path, ...] = ()
    token_types: tuple[tuple[int, ...], ...] = ()
    packed: bool = False
    no_cache: bool = False
    inputs: Path | None = None


def check(request: Request) -> None:
    """Refuse parts that do not go together.

    Raises:
        UsageError: nothing to encode, or one part rules out another.
    """
    if request.inputs is not None:
        _check_inputs(request)
        return
    _check_texts(request)
    _check_packed(request)
    _check_images(request)
    if request.pairs and request.ids:
        raise UsageError(
            f"{parameter('pair')} and {parameter('ids')} are given together", "put both texts' ids into one row"
        )
    if request.targets and request.target_ids:
        raise UsageError(
            f"{parameter('target')} and {parameter('target_ids')} are given together", "give one or the other"
        )
    count = len(request.texts) or len(request.ids)
    for what, rows in (
        (parameter("pair"), request.pairs),
        (parameter("target"), request.targets),
        (parameter("target_ids"), request.target_ids),
        (parameter("token_types"), request.token_types),
    ):
        if rows and len(rows) != count:
            raise UsageError(f"there are {len(rows)} {what} and {count} texts", f"give one {what} per text")
    if any(not row for row in request.ids + request.target_ids):
        raise UsageError("a row of ids is empty", f"write numbers, such as {ids_example()}")


def _check_inputs(request: Request) -> None:
    """Inputs are passed on as they are: nothing beside them may ask for other ones."""
    for what, given in (
        ("a text", request.texts),
        (parameter("ids"), request.ids),
        (parameter("pair"), request.pairs),
        (parameter("target"), request.targets or request.target_ids),
        (parameter("image"), request.images),
        (parameter("token_types"), request.token_types),
        (parameter("padding_side"), request.padding_side),
        (parameter("pad_to"), request.pad_to),
        (parameter("max_length"), request.max_length),
        (parameter("position_ids", "cumsum"), request.cumulative_positions),
        (parameter("packed"), request.packed),
    ):
        if given:
            raise UsageError(f"{parameter('inputs')} and {what} are given together", "inputs are passed on as they are")


def _check_texts(request: Request) -> None:
    if bool(request.texts) == bool(request.ids):
        if request.texts:
            raise UsageError(f"texts and {parameter('ids')} are given together", "give one or the other")
        raise UsageError(
            "there is no text",
            either('give one, such as "some text"', 'give one, such as "some text", or - for standard input'),
        )
    for index, text in enumerate(request.texts):
        if not text.strip():
            raise UsageError(f"text {index + 1} is empty", "give at least one word")
    for text in (*request.texts, *request.pairs, *request.targets):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UsageError(f"the text {text[:20]!r} is not valid UTF-8", "check the terminal's encoding")


def _check_images(request: Request) -> None:
    if not request.images:
        return
    for option, given in (
        (parameter("ids"), request.ids),
        (parameter("pair"), request.pairs),
        (parameter("target"), request.targets or request.target_ids),
        (parameter("packed"), request.packed),
        (parameter("pad_to"), request.pad_to),
        (parameter("max_length"), request.max_length),
        (parameter("token_types"), request.token_types),
        (parameter("position_ids", "cumsum"), request.cumulative_positions),
    ):
        if given:
            raise UsageError(
                f"{parameter('image')} and {option} are given together",
                "with images the model's own processor makes the inputs",
            )


def _check_packed(request: Request) -> None:
    if not request.packed:
        return
    for option, given in (
        (parameter("pad_to"), request.pad_to),
        (parameter("position_ids", "cumsum"), request.cumulative_positions),
    ):
        if given:
            raise UsageError(f"{parameter('packed')} and {option} are given together", "a packed row has no padding")
    if request.targets or request.target_ids:
        raise UsageError(
            f"{parameter('packed')} and a target are given together", "texts are packed for decoders alone"
        )


def ids_example() -> str:
    """How rows of ids are written."""
    return either("ids=[[5, 17, 3]]", '--ids "5 17 3"')


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
