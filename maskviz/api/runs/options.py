"""How Python says what is run: a model, a text, and options by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from maskviz.core.arrays import AnyArray
from maskviz.core.errors import UsageError
from maskviz.core.writing import nearest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

    Model = str | os.PathLike[str] | PreTrainedModel | Any
    Text = str | Sequence[Any] | Mapping[str, Any] | torch.Tensor | AnyArray | None


class ModelKeywords(TypedDict, total=False):
    """What may be said of a model.

    Attributes:
        tokenizer: A tokenizer, or the name of one; None takes the model's own.
        weights: False builds a named model without weights, for its masks alone.
        random_weights: Seed of random weights for a named model.
        device: Of a named model: "auto", "cpu", "cuda:1" ...
        dtype: Of a named model: "auto", "float32", "float16" or "bfloat16".
        parallel: "auto" spreads a named model over this machine's devices, "tp" over torchrun's processes.
        revision: Branch, tag or commit on the hub.
        offline: Whether only what is on this machine may be used.
        trust_remote_code: Whether code that comes with a named model may run.
    """

    tokenizer: str | PreTrainedTokenizerBase | None
    weights: bool
    random_weights: int | None
    device: str
    dtype: str
    parallel: str | None
    revision: str | None
    offline: bool
    trust_remote_code: bool


class TextKeywords(TypedDict, total=False):
    """What may be said of texts that a model reads one by one.

    Attributes:
        pair: A second text, or one for each text.
        target: The decoder's text, or one for each text.
        ids, target_ids: Rows of raw ids instead of texts; no special tokens are added.
        inputs: File of the arguments of the model's forward instead of a text: .npz, .safetensors, .pt or .json.
        max_length: Tokens a text is cut to.
    """

    pair: str | Sequence[str] | None
    target: str | Sequence[str] | None
    ids: Sequence[Sequence[int]] | None
    target_ids: Sequence[Sequence[int]] | None
    inputs: str | os.PathLike[str] | None
    max_length: int | None


class BatchKeywords(TextKeywords, total=False):
    """What may be said of texts that form one batch.

    Attributes:
        padding_side: "left" or "right"; None takes the tokenizer's.
        pad_to: Tokens every row is padded to.
        position_ids: "cumsum" counts real tokens, as `generate()` does; "plain" passes none.
        image: A picture's file for the model's processor, one for all texts or one for each.
        token_types: Rows of the types of tokens.
        packed: Whether the texts share one row, positions restarting, no attention mask.
        no_cache: Whether the model is called with use_cache=False.
    """

    padding_side: str | None
    pad_to: int | None
    position_ids: str
    image: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
    token_types: Sequence[Sequence[int]] | None
    packed: bool
    no_cache: bool


class OwnKeywords(TypedDict, total=False):
    """What may be said of a module of the user's own.

    Attributes:
        labels: Names of the positions, [batch][position], or one row for all; of the encoder where there are two sides.
        target_labels: The same of the decoder's side.
        batch_size: Rows of the batch, where the calls leave two readings.
        num_heads: Heads of each attention, likewise.
    """

    labels: Sequence[Sequence[str]] | Sequence[str] | None
    target_labels: Sequence[Sequence[str]] | Sequence[str] | None
    batch_size: int | None
    num_heads: int | None


class RunKeywords(ModelKeywords, BatchKeywords, OwnKeywords, total=False):
    """What may be said of a run of one batch.

    Attributes:
        past: Tokens that are fed into the cache first.
        step: Tokens that are generated greedily.
        cache: "dynamic" or "static", of `past` and `step`.
        mask: An attention mask in the place of the model's: [batch, token], four axes, or the file of one.
    """

    past: int | None
    step: int | None
    cache: str
    mask: AnyArray | torch.Tensor | str | os.PathLike[str] | None


_Word = TypeVar("_Word", bound=str)


# The least and the most a number may be, as the command line has them; None for no end.
Range = tuple[float, float | None]
RANGES: dict[str, Range] = {
    **dict.fromkeys(("max_length", "pad_to", "past", "step", "queries", "keys", "heads", "batch", "window"), (1, None)),
    **dict.fromkeys(("layers", "top", "mlm_sample", "length", "width", "batch_size", "num_heads"), (1, None)),
    "random_weights": (0, 2**63 - 1),
    "seed": (0, 2**32 - 1),
    "probe_length": (5, None),
    "probe_seeds": (1, 1000),
    "random": (1, 1000),
    "seeds": (1, 100_000),
}
# Of one function alone: numbers that are shares, and what is smaller elsewhere.
OWN_RANGES: dict[tuple[str, str], Range] = {
    ("prune", "step"): (0.001, 1),
    ("prune", "keep"): (0, 1),
    ("prune", "within"): (0, None),
    ("mlm", "probability"): (0, 1),
    ("info", "length"): (1, 4096),  # squares of this side are compared in seconds
}
_SHARES = (("prune", "step"), ("prune", "keep"), ("prune", "within"), ("mlm", "probability"))


def check_options(function: str, options: Mapping[str, Any], *known: type) -> None:
    """Refuse options that are in none of the kinds that are known, as Python does, and numbers out of range.

    Raises:
        TypeError: there is no such option.
        UsageError: a number is none, or smaller or larger than it may be.
    """
    names = {name for kind in known for name in kind.__annotations__}
    unknown = sorted(set(options) - names)
    if unknown:
        close = nearest(unknown[0], names)
        hint = f"; {close}" if close else ""
        raise TypeError(f"{function}() got an unexpected keyword argument {unknown[0]!r}{hint}")
    for name, value in options.items():
        own = OWN_RANGES.get((function, name))
        if value is not None and (own is not None or name in RANGES):
            _check_number(name, value, own or RANGES[name], whole=(function, name) not in _SHARES)


def _check_number(name: str, value: Any, allowed: Range, *, whole: bool) -> None:
    least, most = allowed
    ends = f"at least {least:g}" if most is None else f"{least:g} to {most:g}"
    kinds: tuple[type, ...] = (Integral,) if whole else (Real,)
    if type(value) is bool or not isinstance(value, kinds):
        raise UsageError(f"{name}={value!r} is no {'whole ' if whole else ''}number", f"give {ends}")
    number: Any = value
    if not least <= number or (most is not None and not number <= most):
        raise UsageError(f"{name}={value!r} is out of range", f"give {ends}")


def only(options: Mapping[str, Any], *kinds: type) -> Any:
    """Those options that one of the kinds knows."""
    names = {name for kind in kinds for name in kind.__annotations__}
    return {name: one for name, one in options.items() if name in names}


def texts_of(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """One text or several.

    Raises:
        UsageError: something in them is no text.
    """
    if given is None:
        return ()
    texts = (given,) if isinstance(given, str) else tuple(given)
    for one in texts:
        if not isinstance(one, str):
            raise UsageError(f"a text is a {type(one).__name__}", "give strings; ids go into ids=[[5, 17, 3]]")
    return texts


def word(kind: type[_Word], given: str, what: str) -> _Word:
    """One of the words of an enumeration.

    Raises:
        UsageError: there is no such one.
    """
    known = [str(one) for one in kind]  # type: ignore[attr-defined]
    if given not in known:
        raise UsageError(
            f"there is no {what} {given!r}", f"{nearest(given, known)} there are {', '.join(known)}".strip()
        )
    return kind(given)
