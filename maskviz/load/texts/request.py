"""What is to be encoded, and which parts of it go together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskviz.core.errors import UsageError


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
        raise UsageError("--pair and --ids are given together", "put both texts' ids into one row")
    if request.targets and request.target_ids:
        raise UsageError("--target and --target-ids are given together", "give one or the other")
    count = len(request.texts) or len(request.ids)
    for what, rows in (
        ("--pair", request.pairs),
        ("--target", request.targets),
        ("--target-ids", request.target_ids),
        ("--token-types", request.token_types),
    ):
        if rows and len(rows) != count:
            raise UsageError(f"there are {len(rows)} {what} and {count} texts", f"give one {what} per text")
    if any(not row for row in request.ids + request.target_ids):
        raise UsageError("a row of ids is empty", 'write numbers, such as --ids "5 17 3"')


def _check_inputs(request: Request) -> None:
    """Inputs are passed on as they are: nothing beside them may ask for other ones."""
    for what, given in (
        ("a text", request.texts),
        ("--ids", request.ids),
        ("--pair", request.pairs),
        ("--target", request.targets or request.target_ids),
        ("--image", request.images),
        ("--token-types", request.token_types),
        ("--padding-side", request.padding_side),
        ("--pad-to", request.pad_to),
        ("--max-length", request.max_length),
        ("--position-ids cumsum", request.cumulative_positions),
        ("--packed", request.packed),
    ):
        if given:
            raise UsageError(f"--inputs and {what} are given together", "inputs are passed on as they are")


def _check_texts(request: Request) -> None:
    if bool(request.texts) == bool(request.ids):
        if request.texts:
            raise UsageError("texts and --ids are given together", "give one or the other")
        raise UsageError("there is no text", 'give one, such as "some text", or - for standard input')
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
        ("--ids", request.ids),
        ("--pair", request.pairs),
        ("--target", request.targets or request.target_ids),
        ("--packed", request.packed),
        ("--pad-to", request.pad_to),
        ("--max-length", request.max_length),
        ("--token-types", request.token_types),
        ("--position-ids cumsum", request.cumulative_positions),
    ):
        if given:
            raise UsageError(
                f"--image and {option} are given together", "with images the model's own processor makes the inputs"
            )


def _check_packed(request: Request) -> None:
    if not request.packed:
        return
    for option, given in (("--pad-to", request.pad_to), ("--position-ids cumsum", request.cumulative_positions)):
        if given:
            raise UsageError(f"--packed and {option} are given together", "a packed row has no padding")
    if request.targets or request.target_ids:
        raise UsageError("--packed and a target are given together", "texts are packed for decoders alone")
