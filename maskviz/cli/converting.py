"""A mask file read in one dialect and written in another. Imports torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from maskviz.api.checking.array import guessed
from maskviz.cli.env import Env
from maskviz.cli.outputs import DataWriter, Drawing, deliver, print_out
from maskviz.conventions.conversion import no_tokens, read, write
from maskviz.conventions.files import mask_bytes, read_mask, values_of
from maskviz.conventions.fitting import fitted
from maskviz.conventions.head_masks import read_gates, words_of
from maskviz.conventions.numbers import bias_of
from maskviz.conventions.packed import PACKED
from maskviz.conventions.source import Known, known, lines_of, mask_mod_of
from maskviz.core.arrays import AnyArray
from maskviz.core.checks.dialects import CONVENTIONS
from maskviz.core.checks.given_array import Sizes
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.results.converted import Converted, Written
from maskviz.core.rules.algebra import Opaque
from maskviz.core.words import Dialect
from maskviz.store.reading import bytes_of
from maskviz.view.masks.conversion import becomes, conversion_page, gates_page

_KEYS_ALONE = (Dialect.HF_2D, Dialect.TORCH_PADDING)
# Where a mask needs its queries, each by itself; elsewhere one row stands for all.
_WITH_QUERIES = (Dialect.TORCH_MHA, Dialect.TORCH_MHA_FLOAT, Dialect.KERAS, Dialect.FLEX)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a conversion was asked for.

    Attributes:
        path: The mask file.
        source: Its dialect; None to go by its shape.
        target: The dialect wanted; None for Python.
        sizes: What it is to fit.
        dtype: The type wanted, "" for the usual one.
        layers: Layers of a head mask.
        causal: Whether queries are to see no later key, which dialects of tokens alone leave to the model.
    """

    path: Path
    source: Dialect | None
    target: Dialect | None
    sizes: Sizes
    dtype: str
    layers: int | None
    causal: bool = False


def convert_mask(env: Env, asked: Asked, paths: list[Path], dpi: int) -> None:
    """Read a mask of tokens and write it, or draw it where no file is asked for.

    Raises:
        UsageError: it cannot be read as its dialect, or the other cannot say it.
        NotFoundError: the file cannot be read.
        CannotTraceError: code is wanted and no known rule explains the mask.
    """
    if asked.source is Dialect.WEIGHTS:
        raise no_tokens(Dialect.WEIGHTS)
    if asked.path.suffix.lower() == ".py":
        raise UsageError(
            f"{str(asked.path)!r} is code, which is not run here",
            "save its cells: torch.save(create_mask(mask_mod, B, H, Q, K), 'cells.pt')",
        )
    source, notes = guessed(asked.path, asked.source, "--from")
    values, stored = values_of(read_mask(asked.path))
    visible = read(values, source, asked.sizes)
    if (bias := bias_of(values, source)) is not None:
        raise UsageError(
            f"the mask also adds numbers from {bias[0]:g} to {bias[1]:g} to scores it does not block",
            "a conversion says which cells are blocked and nothing else: take the bias off first",
        )
    sizes = asked.sizes
    if source in _KEYS_ALONE and (asked.target in _WITH_QUERIES or asked.causal) and sizes.queries is None:
        sizes = replace(sizes, queries=visible.shape[3])
        notes = (*notes, f"as many queries as keys, {visible.shape[3]}; --queries says otherwise")
    visible = fitted(visible, sizes)
    if asked.causal:
        visible = np.tril(visible, visible.shape[3] - visible.shape[2])
    notes = (*notes, *_left_out(source, asked))
    found = known(visible)
    written, array = None, np.zeros(0)
    if asked.target is not None:
        array = write(visible, asked.target, sizes, asked.dtype)
        written = Written(asked.target, array.shape, asked.dtype or CONVENTIONS[asked.target].types[0])
    converted = Converted(
        asked.path.name,
        Written(source, values.shape, stored),
        written,
        visible,
        Opaque("unrecognised") if found is None else found.rule,
        0 if found is None else found.offset,
        notes,
    )
    if written is None:
        _hand_over_code(env, converted, found, paths, dpi)
        return
    data = _writers(array, written.dtype)
    data[".py"] = lambda: mask_mod_of(
        _or_refused(found, "-o mask.safetensors keeps its cells, for a mask_mod that looks them up")
    ).encode()
    deliver(env, conversion_page(converted, {"command": env.command}), paths, Drawing(dpi), data)
    if paths:
        for note in (*notes, f"{written.dialect}: {becomes(written)}"):
            env.say(note)


def _left_out(source: Dialect, asked: Asked) -> tuple[str, ...]:
    """Sentences on what one of two dialects leaves to the model or the kernel."""
    if source in PACKED and asked.target not in PACKED and not asked.causal:
        return ("later tokens of a text are visible too: causal is the model's or kernel's; --causal adds it",)
    if source in _KEYS_ALONE and asked.target is Dialect.CU_SEQLENS:
        return ("padding is taken out: the tokens are those that are kept, one row behind the other",)
    return ()


def _hand_over_code(env: Env, converted: Converted, found: Known | None, paths: list[Path], dpi: int) -> None:
    for note in converted.notes:
        env.say(note)
    code = lines_of(_or_refused(found, "--to sdpa -o mask.npy keeps its cells"))
    if not paths:
        print_out(env, code)
        return
    deliver(
        env, conversion_page(converted, {"command": env.command}), paths, Drawing(dpi), {".py": lambda: code.encode()}
    )


def _or_refused(found: Known | None, hint: str) -> Known:
    if found is None:
        raise CannotTraceError(
            "no known rule explains this mask: causal, windows, chunks, blocks, prefixes, packed texts and padding at "
            "the ends of rows were tried",
            hint,
        )
    return found


def _writers(array: AnyArray, dtype: str) -> dict[str, DataWriter]:
    return {suffix: partial(mask_bytes, array, suffix, dtype) for suffix in (".npy", ".pt", ".safetensors")}


def convert_heads(env: Env, asked: Asked, paths: list[Path], dpi: int) -> None:
    """Read a head mask, [head] or [layer, head], and write it as [layer, head], or [head] with --layers 1.

    Raises:
        UsageError: it is none, or the other side is a mask of tokens.
        NotFoundError: the file cannot be read.
    """
    if (asked.source, asked.target) != (Dialect.HEAD_MASK, Dialect.HEAD_MASK):
        raise no_tokens(Dialect.HEAD_MASK)
    values = _from_json(asked.path) if asked.path.suffix.lower() == ".json" else values_of(read_mask(asked.path))[0]
    gates = read_gates(values, asked.layers)
    if asked.dtype not in ("", "float32"):
        raise UsageError(f"head-mask is not written as {asked.dtype}", "leave out --dtype")
    words = words_of(gates)
    page = gates_page(asked.path.name, gates, words, Written(Dialect.HEAD_MASK, gates.shape, "float32"))
    listed = json.dumps(gates.tolist()) + "\n"
    deliver(env, page, paths, Drawing(dpi), {**_writers(gates, "float32"), ".json": lambda: listed.encode()})
    if paths and words:
        env.say(f'--head-mask "{words}"')


def _from_json(path: Path) -> AnyArray:
    try:
        return np.asarray(json.loads(bytes_of(path, "head mask")))
    except (ValueError, RecursionError) as error:
        raise NotFoundError(
            f"head mask {str(path)!r} cannot be read: it is no list of numbers", "[[1, 0], [1, 1]]: layers, then heads"
        ) from error
