"""`maskviz.trace`: a model and a text become a trace that can be looked at. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from maskviz.api.running import calling_of, check_has_heads, run_once, run_with
from maskviz.api.trace import Trace
from maskviz.core.arrays import AnyArray, FloatArray
from maskviz.core.errors import UsageError
from maskviz.core.run import trace as core
from maskviz.core.run.heads import HeadMask, head_mask_of, parse_head_mask
from maskviz.load.inputs.files import read_inputs
from maskviz.load.inputs.forward_inputs import encoded_inputs
from maskviz.load.models.live import loaded_object
from maskviz.load.models.loading import Loading, bring_in
from maskviz.load.models.model import Loaded, load_tokenizer, volume_kept
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Encoded, encode
from maskviz.load.texts.request import Request, check
from maskviz.tracing.budget import check_fits
from maskviz.tracing.run import head_groups, head_shapes
from maskviz.tracing.seam.replacing import alone

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

    Table = AnyArray | torch.Tensor | Sequence[Sequence[float]]
    Gates = str | HeadMask | Table | Mapping[str, Table]


class Options(TypedDict, total=False):
    """What else `trace` may be told.

    Attributes:
        head_mask: Heads to silence or scale: `"0:3,5; 2:*"`, an array [layer, head] where 1 keeps and 0 silences, such
            arrays by stack, or a `HeadMask`. The trace then holds the run before and after.
        tokenizer: A tokenizer, or the name of one; None takes the model's own.
        pair: A second text, or one for each text.
        target: The decoder's text, or one for each text.
        ids, target_ids: Rows of raw ids instead of texts; no special tokens are added.
        inputs: File of the arguments of the model's forward instead of a text: .npz, .safetensors, .pt or .json.
        padding_side: "left" or "right"; None takes the tokenizer's.
        max_length: Tokens a text is cut to.
        weights: False builds a named model without weights, for its masks alone.
        random_weights: Seed of random weights for a named model.
        device: Of a named model: "auto", "cpu", "cuda:1" ...
        dtype: Of a named model: "auto", "float32", "float16" or "bfloat16".
        revision: Branch, tag or commit on the hub.
        offline: Whether only what is on this machine may be used.
        trust_remote_code: Whether code that comes with a named model may run.
    """

    head_mask: Gates | None
    tokenizer: str | PreTrainedTokenizerBase | None
    pair: str | Sequence[str] | None
    target: str | Sequence[str] | None
    ids: Sequence[Sequence[int]] | None
    target_ids: Sequence[Sequence[int]] | None
    inputs: str | os.PathLike[str] | None
    padding_side: str | None
    max_length: int | None
    weights: bool
    random_weights: int | None
    device: str
    dtype: str
    revision: str | None
    offline: bool
    trust_remote_code: bool


_SIDES = (None, "left", "right")
_OF_NAMES = ("weights", "random_weights", "device", "dtype", "revision", "offline", "trust_remote_code")
_OF_TEXTS = ("pair", "target", "ids", "target_ids", "padding_side", "max_length")


def trace(
    model: str | os.PathLike[str] | PreTrainedModel | Any,
    text: str | Sequence[str] | Mapping[str, Any] | None = None,
    **options: Unpack[Options],
) -> Trace:
    """Run a model on a text and return what its attention was allowed to see and where it looked.

    A model object is run where it is and as it is, adapters included, in evaluation mode and without gradients; its
    mode, attention implementation, hooks and the random generators are afterwards as they were, also when it raises.
    Calls from several threads wait for each other; other models may run in other threads meanwhile, and are not heard.

    Args:
        model: A hub id, folder, `config.json`, `.gguf` file or `demo:bert`; or a model of transformers, bare or inside
            `torch.compile`, `DataParallel` or a `PeftModel`.
        text: A text, or several that form one padded batch; or the arguments of the model's forward, such as what a
            tokenizer returns with `return_tensors="pt"`, which are passed on as they are.
        **options: See `Options`.

    Returns:
        The trace; in a notebook it displays itself.

    Raises:
        MaskvizError: what is asked for is not there, does not go together, or cannot be traced.
        TypeError: an option there is not.
    """
    unknown = sorted(set(options) - set(Options.__annotations__))
    if unknown:
        raise TypeError(f"trace() got an unexpected keyword argument {unknown[0]!r}")
    with alone(), volume_kept():
        return _traced(model, text, options)


def _traced(model: Any, text: Any, options: Options) -> Trace:
    given = _given(text, options)
    request = request_of(text, options) if given is None else None
    loaded = loaded_of(model, request, options)
    encoded = _encoded(loaded, given, request, options)
    check_fits(loaded.card, encoded.batch, weightless=loaded.weightless)
    calling = calling_of(encoded)
    saved = run_once(loaded, encoded, calling)
    gates = options.get("head_mask")
    if gates is not None:
        check_has_heads(saved.trace)
        saved = run_with(loaded, encoded, saved.trace, _head_mask(gates, saved.trace), calling)
    return Trace.of(saved)


def _given(text: Any, options: Options) -> Mapping[str, Any] | None:
    """The arguments of the forward, as they are or out of a file; None where there is a text.

    Raises:
        UsageError: a text or other arguments beside a file.
    """
    file = options.get("inputs")
    if file is None:
        return text if isinstance(text, Mapping) else None
    if text is not None:
        raise UsageError("inputs= and a text are given together", "inputs are passed on as they are")
    return read_inputs(Path(file))


def request_of(text: str | Sequence[str] | None, options: Options) -> Request:
    """What is to be encoded.

    Raises:
        UsageError: parts that do not go together.
    """
    side, longest = options.get("padding_side"), options.get("max_length")
    if side not in _SIDES:
        raise UsageError(f"there is no padding side {side!r}", "it is left or right")
    if longest is not None and longest < 1:
        raise UsageError(f"no text can be cut to {longest} tokens", "give at least 1")
    request = Request(
        texts=_texts(text),
        pairs=_texts(options.get("pair")),
        ids=_ids(options.get("ids")),
        targets=_texts(options.get("target")),
        target_ids=_ids(options.get("target_ids")),
        padding_side=side,
        max_length=longest,
    )
    check(request)
    return request


def _texts(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    texts = (given,) if isinstance(given, str) else tuple(given)
    for one in texts:
        if not isinstance(one, str):
            raise UsageError(f"a text is a {type(one).__name__}", "give strings; ids go into ids=[[5, 17, 3]]")
    return texts


def _ids(given: Sequence[Sequence[int]] | None) -> tuple[tuple[int, ...], ...]:
    try:
        return () if given is None else tuple(tuple(int(one) for one in row) for row in given)
    except (TypeError, ValueError) as error:
        raise UsageError("ids are no rows of numbers", "give a row for each text, such as ids=[[5, 17, 3]]") from error


def loaded_of(model: Any, request: Request | None, options: Options) -> Loaded:
    """A model by name, or a model object as it is; raises as `bring_in` and `loaded_object`."""
    tokenizer = options.get("tokenizer")
    if not isinstance(model, str | os.PathLike):
        named = [name for name in _OF_NAMES if name in options]
        if named:
            raise UsageError(f"{named[0]}= is for models by name, and this is a model object", f"leave out {named[0]}=")
        return loaded_object(model, _tokenizer(tokenizer))
    offline, trust = options.get("offline", False), options.get("trust_remote_code", False)
    loading = Loading(
        resolve(os.fspath(model), revision=options.get("revision"), offline=offline, trust=trust),
        weights=options.get("weights", True),
        seed=options.get("random_weights"),
        tokenizer=resolve(tokenizer, offline=offline, trust=trust) if isinstance(tokenizer, str) else None,
        device=options.get("device", "auto"),
        dtype=options.get("dtype", "auto"),
    )
    if isinstance(tokenizer, str) or tokenizer is None:
        return bring_in(loading, request or Request())
    return replace(bring_in(loading, Request()), tokenizer=tokenizer, tokenizer_problem="")


def _tokenizer(given: str | PreTrainedTokenizerBase | None) -> PreTrainedTokenizerBase | None:
    if not isinstance(given, str):
        return given
    found, problem = load_tokenizer(resolve(given))
    if found is None:
        raise UsageError(f"no tokenizer in {given!r}: {problem}", "give a hub id or a folder that has one")
    return found


def _encoded(loaded: Loaded, given: Mapping[str, Any] | None, request: Request | None, options: Options) -> Encoded:
    if given is not None:
        beside = [name for name in _OF_TEXTS if name in options]
        if beside:
            raise UsageError(f"{beside[0]}= is for texts, and inputs are given", f"leave out {beside[0]}=")
        return encoded_inputs(loaded, given)
    assert request is not None
    if request.texts and loaded.tokenizer is None:
        raise UsageError(
            f"there is no tokenizer for the text: {loaded.tokenizer_problem}",
            "give tokenizer=..., or ids=[[5, 17, 3]] instead of a text",
        )
    return encode(loaded, request)


def _head_mask(gates: Gates, plain: core.Trace) -> HeadMask:
    shapes = head_shapes(plain)
    if isinstance(gates, HeadMask):
        return head_mask_of(gates.gates, shapes)
    if isinstance(gates, str):
        return parse_head_mask(gates, shapes, head_groups(plain))
    if isinstance(gates, Mapping):
        return head_mask_of({stack: _numbers(table) for stack, table in gates.items()}, shapes)
    return head_mask_of(_numbers(gates), shapes)


def _numbers(table: Table) -> FloatArray:
    """Gates as float32, from an array, nested lists, or a tensor on any device."""
    held: Any = table
    array = np.asarray(held.detach().cpu() if hasattr(held, "detach") else held)
    if array.dtype.kind not in "buif":
        raise UsageError(f"the head mask holds {array.dtype}", "give numbers from 0 to 1, 1 keeps a head")
    return array.astype(np.float32)
