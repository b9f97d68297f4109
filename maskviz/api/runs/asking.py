"""What Python says is run, as the values the other rooms take. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from maskviz.api.runs.options import (
    BatchKeywords,
    ModelKeywords,
    OwnKeywords,
    RunKeywords,
    TextKeywords,
    only,
    texts_of,
    word,
)
from maskviz.api.runs.own import Own, is_own
from maskviz.api.runs.traced import Asked, Feeding, Live
from maskviz.core.arrays import AnyArray
from maskviz.core.errors import UsageError
from maskviz.core.words import CacheKind, Parallel
from maskviz.load.inputs.files import read_inputs
from maskviz.load.models.adapters import is_adapted
from maskviz.load.models.loading import Loading
from maskviz.load.models.model import load_tokenizer
from maskviz.load.models.source import Source, resolve
from maskviz.load.texts.request import Request, check
from maskviz.tracing.modules.axes import Said
from maskviz.tracing.modules.reading import Labels

if TYPE_CHECKING:
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

    from maskviz.api.runs.options import Model, Text

# Each is of models by name, or of texts: beside a model object, or beside inputs, nobody would look at it.
_OF_NAMES = ("weights", "random_weights", "device", "dtype", "parallel", "revision", "offline", "trust_remote_code")
_OF_TEXTS = (*TextKeywords.__annotations__, *BatchKeywords.__annotations__)
_PASSED_ON = ("inputs", "no_cache")


def asked_of(model: Model, text: Text, options: RunKeywords) -> Asked:
    """What is asked for.

    Args:
        model: A name, or a model of transformers.
        text: A text, several, or the arguments of the model's forward.
        options: What else there is to say.

    Raises:
        UsageError: parts that do not go together, or values there are not.
        NotFoundError: a model or file that is not there.
    """
    feeding = Feeding(
        options.get("past"),
        options.get("step"),
        word(CacheKind, options.get("cache", "dynamic"), "kind of cache"),
        mask_of(options.get("mask")),
    )
    if not isinstance(model, str | os.PathLike) and is_own(model):
        return Asked(own_of(model, text, options), feeding=feeding)
    if not isinstance(model, str | os.PathLike | torch.nn.Module):
        raise UsageError(
            f"a {type(model).__name__} is no model of transformers, no torch module and no Keras model",
            "give one of these, or the name of a model",
        )
    beside = next(iter(only(options, OwnKeywords)), None)
    if beside is not None:
        raise UsageError(f"{beside}= is for modules of your own", f"leave out {beside}=")
    arguments = _arguments(text, options)
    request = Request(no_cache=options.get("no_cache", False))
    if arguments is None:
        assert not isinstance(text, Mapping)
        if isinstance(text, torch.Tensor | np.ndarray):
            raise UsageError(f"a {type(text).__name__} is no text", "ids go into {'input_ids': ids}")
        request = request_of(text, options)
    tokenizer = options.get("tokenizer")
    at_hand = None if isinstance(tokenizer, str) else tokenizer
    return Asked(model_of(model, options), request, feeding, arguments, at_hand)


def own_of(module: Any, inputs: Any, options: Mapping[str, Any]) -> Own:
    """A module of the user's own with its inputs.

    Raises:
        UsageError: an option of models by name, or of texts, beside it.
    """
    known = {*OwnKeywords.__annotations__, "tokenizer", "inputs", "head_mask"}
    if is_adapted(module) and options.get("ids") is not None and inputs is None:
        inputs, known = {"input_ids": tensor_of(options["ids"])}, {*known, "ids"}
    others = {*ModelKeywords.__annotations__, *_OF_TEXTS} - known
    beside = next((name for name in options if name in others), None)
    if beside is not None:
        raise UsageError(f"{beside}= is for models of transformers, and this is a module", f"leave out {beside}=")
    file = options.get("inputs")
    if file is not None and inputs is not None:
        raise UsageError("inputs= and other inputs are given together", "give one or the other")
    return Own(
        module,
        inputs if file is None else read_inputs(Path(file)),
        said=Said(options.get("batch_size"), options.get("num_heads")),
        labels=labels_of(options.get("labels"), "labels"),
        target_labels=labels_of(options.get("target_labels"), "target_labels"),
        tokenizer=_tokenizer(options.get("tokenizer")),
        moved=file is not None,
    )


def labels_of(given: Any, name: str) -> Labels | None:
    """Names of positions as rows of strings; one row of strings is for every row.

    Raises:
        UsageError: they are no strings.
    """
    if given is None:
        return None
    rows = [given] if isinstance(given, Sequence) and given and all(isinstance(one, str) for one in given) else given
    try:
        found = tuple(tuple(row) for row in rows)
    except TypeError:
        found = ()
    if not found or any(not isinstance(one, str) for row in found for one in row) or isinstance(given, str):
        raise UsageError(f"{name}= are no strings", f"give a string for each position: {name}=[['the', 'cat']]")
    return found


def model_of(model: Model, options: ModelKeywords) -> Loading | Live:
    """What model is asked for.

    Raises:
        UsageError: an option of names beside a model object.
        NotFoundError: there is no such model.
    """
    tokenizer = options.get("tokenizer")
    if not isinstance(model, str | os.PathLike):
        named = [name for name in _OF_NAMES if name in options]
        if named:
            raise UsageError(f"{named[0]}= is for models by name, and this is a model object", f"leave out {named[0]}=")
        return Live(model, _tokenizer(tokenizer))
    if options.get("random_weights") is not None and not options.get("weights", True):
        raise UsageError("weights=False and random_weights= are given together", "give one or the other")
    parallel = options.get("parallel")
    return Loading(
        source_of(model, options),
        weights=options.get("weights", True),
        seed=options.get("random_weights"),
        tokenizer=_tokenizer_source(tokenizer, options),
        device=options.get("device", "auto"),
        dtype=options.get("dtype", "auto"),
        parallel=None if parallel is None else word(Parallel, parallel, "way to spread a model"),
    )


def source_of(model: str | os.PathLike[str], options: ModelKeywords) -> Source:
    """Where a named model is; raises as `resolve`."""
    return resolve(
        os.fspath(model),
        revision=options.get("revision"),
        offline=options.get("offline", False),
        trust=options.get("trust_remote_code", False),
    )


def _tokenizer_source(tokenizer: Any, options: ModelKeywords) -> Source | None:
    if not isinstance(tokenizer, str):
        return None
    return resolve(tokenizer, offline=options.get("offline", False), trust=options.get("trust_remote_code", False))


def _tokenizer(given: str | PreTrainedTokenizerBase | None) -> PreTrainedTokenizerBase | None:
    if not isinstance(given, str):
        return given
    found, problem = load_tokenizer(resolve(given))
    if found is None:
        raise UsageError(f"no tokenizer in {given!r}: {problem}", "give a hub id or a folder that has one")
    return found


def _arguments(text: Text, options: RunKeywords) -> Mapping[str, Any] | None:
    """The arguments of the forward, as they are or out of a file; None where there is a text.

    Raises:
        UsageError: a text, other arguments or options of texts beside them.
    """
    file = options.get("inputs")
    arguments = text if isinstance(text, Mapping) else None
    if file is not None:
        if text is not None:
            raise UsageError("inputs= and a text are given together", "inputs are passed on as they are")
        arguments = read_inputs(Path(file))
    if arguments is not None:
        beside = [name for name in _OF_TEXTS if name in options and name not in _PASSED_ON]
        if beside:
            raise UsageError(f"{beside[0]}= is for texts, and inputs are given", f"leave out {beside[0]}=")
    return arguments


def request_of(text: str | Sequence[str] | None, options: BatchKeywords) -> Request:
    """What is to be encoded.

    Raises:
        UsageError: parts that do not go together, or values there are not.
    """
    side, positions = options.get("padding_side"), options.get("position_ids", "plain")
    if side not in (None, "left", "right"):
        raise UsageError(f"there is no padding side {side!r}", "it is left or right")
    if positions not in ("plain", "cumsum"):
        raise UsageError(f"there are no position ids {positions!r}", "they are plain or cumsum")
    request = Request(
        texts=texts_of(text),
        pairs=texts_of(options.get("pair")),
        ids=_ids(options.get("ids")),
        targets=texts_of(options.get("target")),
        target_ids=_ids(options.get("target_ids")),
        padding_side=side,
        pad_to=options.get("pad_to"),
        max_length=options.get("max_length"),
        cumulative_positions=positions == "cumsum",
        images=_paths(options.get("image")),
        token_types=_ids(options.get("token_types")),
        packed=options.get("packed", False),
        no_cache=options.get("no_cache", False),
    )
    check(request)
    return request


def _ids(given: Sequence[Sequence[int]] | None) -> tuple[tuple[int, ...], ...]:
    try:
        return () if given is None else tuple(tuple(int(one) for one in row) for row in given)
    except (TypeError, ValueError) as error:
        raise UsageError("ids are no rows of numbers", "give a row for each text, such as ids=[[5, 17, 3]]") from error


def _paths(given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None) -> tuple[Path, ...]:
    if given is None:
        return ()
    return (Path(given),) if isinstance(given, str | os.PathLike) else tuple(Path(one) for one in given)


def mask_of(given: AnyArray | torch.Tensor | str | os.PathLike[str] | None) -> Path | torch.Tensor | None:
    """A mask as an array, or the file of one."""
    if given is None:
        return None
    return Path(given) if isinstance(given, str | os.PathLike) else tensor_of(given)


def tensor_of(value: Any) -> torch.Tensor:
    """Numbers as a tensor.

    Raises:
        UsageError: they are none.
    """
    try:
        return value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise UsageError(f"a {type(value).__name__} is no array of numbers", "give rows of one length") from error
