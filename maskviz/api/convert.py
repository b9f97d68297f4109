"""One mask in the dialects of the frameworks: read in one, written in another, or as code. Imports torch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import torch

from maskviz.api.answer import Answer
from maskviz.api.checking.array import MaskNumbers, guessed
from maskviz.api.runs.asking import mask_of
from maskviz.api.runs.options import check_options, word
from maskviz.conventions.conversion import no_tokens, read, write
from maskviz.conventions.files import mask_bytes
from maskviz.conventions.fitting import fitted
from maskviz.conventions.head_masks import read_gates, words_of
from maskviz.conventions.numbers import bias_of
from maskviz.conventions.packed import PACKED
from maskviz.conventions.source import Known, known, lines_of, mask_mod_of
from maskviz.core.arrays import AnyArray, FloatArray
from maskviz.core.checks.case import Sizes
from maskviz.core.checks.dialects import CONVENTIONS
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.panels.page import Page
from maskviz.core.results.converted import Converted, Written
from maskviz.core.rules.algebra import Opaque
from maskviz.core.words import Dialect
from maskviz.core.writing import either, parameter
from maskviz.store.reading import bytes_of
from maskviz.view.masks.conversion import becomes, conversion_page, gates_page

if TYPE_CHECKING:
    import numpy.typing as npt

FILES = (".npy", ".pt", ".safetensors")
# What is asked for where the lines that build a mask are wanted.
PYTHON = "python"
_KEYS_ALONE = (Dialect.HF_2D, Dialect.TORCH_PADDING)
# Where a mask needs its queries, each by itself; elsewhere one row stands for all.
_WITH_QUERIES = (Dialect.TORCH_MHA, Dialect.TORCH_MHA_FLOAT, Dialect.KERAS, Dialect.FLEX)


@dataclass(frozen=True, slots=True)
class ConvertWanted:
    """What a conversion is asked for.

    Attributes:
        target: The dialect wanted; None for Python.
        source: The dialect it is in; None to go by its shape.
        sizes: What it is to fit.
        dtype: The type wanted, "" for the usual one.
        layers: Layers of a head mask.
        causal: Whether queries are to see no later key, which dialects of tokens alone leave to the model.
    """

    target: Dialect | None
    source: Dialect | None = None
    sizes: Sizes = field(default_factory=Sizes)
    dtype: str = ""
    layers: int | None = None
    causal: bool = False


def suffixes_of(target: Dialect | None) -> tuple[str, ...]:
    """Suffixes of what a target is written to; None is Python."""
    match target:
        case None:
            return (".py",)
        case Dialect.FLEX:
            return (*FILES, ".py")
        case Dialect.HEAD_MASK:
            return (*FILES, ".json")
    return FILES


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Conversion(Answer):
    """A mask as another framework takes it; an array to numpy, a text where code was asked for.

    Attributes:
        converted: What was read, and what it has become.
        array: The mask in its new dialect, numbers of bfloat16 in float32; None where it becomes code.
        found: The rule that explains all its cells, or None.
    """

    converted: Converted
    array: AnyArray | None
    found: Known | None

    @property
    def DATA(self) -> tuple[str, ...]:  # type: ignore[override] # noqa: N802 - what a file may be goes by the dialect
        """Suffixes of files that hold the mask."""
        return suffixes_of(None if self.converted.target is None else self.converted.target.dialect)

    @property
    def code(self) -> str:
        """The lines that build the mask for sdpa.

        Raises:
            CannotTraceError: no known rule explains it.
        """
        hint = either("target='sdpa' keeps its cells", "--to sdpa -o mask.npy keeps its cells")
        return lines_of(self._explained(hint))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken for granted, and what the mask has become, a sentence each."""
        target = self.converted.target
        became = () if target is None else (f"{target.dialect}: {becomes(target)}",)
        return (*self.converted.notes, *became)

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the array."""
        return self._array().shape

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        array = self._array().astype(dtype, copy=False) if dtype is not None else self._array()
        return array.copy() if copy else array

    def __str__(self) -> str:
        return self.code if self.array is None else Answer.__str__(self)

    def __repr__(self) -> str:
        target = self.converted.target
        became = PYTHON if target is None else f"{target.dialect}, {becomes(target)}"
        return f"<Conversion of {self.converted.name}: {self.converted.source.dialect} to {became}>"

    def page(self) -> Page:
        """The page that `maskviz convert` draws."""
        return conversion_page(self.converted)

    def to_dict(self) -> dict[str, Any]:
        """What was read, and the mask in its new dialect as nested lists, or the code."""
        target, converted = self.converted.target, self.converted
        return {
            "kind": "conversion",
            "name": converted.name,
            "source": _written(converted.source),
            "target": PYTHON if target is None else _written(target),
            "rule": str(converted.rule),
            "notes": list(converted.notes),
            "mask": None if self.array is None else self.array.tolist(),
            "code": self.code if self.array is None else None,
        }

    def data(self, suffix: str, command: str = "") -> bytes:
        """The mask as .npy, .pt or .safetensors, or as code."""
        del command
        if suffix != ".py":
            assert self.converted.target is not None
            return mask_bytes(self._array(), suffix, self.converted.target.dtype)
        if self.array is None:
            return self.code.encode()
        kept = either("save it as .safetensors", "-o mask.safetensors keeps its cells")
        return mask_mod_of(self._explained(f"{kept}, for a mask_mod that looks them up")).encode()

    def _array(self) -> AnyArray:
        if self.array is None:
            raise UsageError("the mask was asked for as code, and is no array", "str() is the code")
        return self.array

    def _explained(self, hint: str) -> Known:
        if self.found is None:
            raise CannotTraceError(
                "no known rule explains this mask: causal, windows, chunks, blocks, prefixes, packed texts and padding "
                "at the ends of rows were tried",
                hint,
            )
        return self.found


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeadGates(Answer):
    """A head mask as [head] or [layer, head]; 1 keeps a head, 0 silences it.

    Attributes:
        name: What it is called.
        array: float32 [head] or [layer, head].
    """

    DATA = (*FILES, ".json")
    name: str
    array: FloatArray

    @property
    def words(self) -> str:
        """The same in the grammar of head masks; "" where all heads are kept."""
        return words_of(self.array)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the same is said where heads are silenced."""
        words = self.words
        return (either(f"head_mask={words!r}", f'--head-mask "{words}"'),) if words else ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the array."""
        return self.array.shape

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        array = self.array.astype(dtype, copy=False) if dtype is not None else self.array
        return array.copy() if copy else array

    def __repr__(self) -> str:
        return f"<HeadGates of {self.name}: {list(self.shape)}>"

    def page(self) -> Page:
        """The page that `maskviz convert` draws."""
        written = Written(Dialect.HEAD_MASK, self.array.shape, "float32")
        return gates_page(self.name, self.array, self.words, written)

    def to_dict(self) -> dict[str, Any]:
        """The gates as nested lists, and in the grammar."""
        return {"kind": "head mask", "gates": self.array.tolist(), "words": self.words}

    def data(self, suffix: str, command: str = "") -> bytes:
        """The gates as .npy, .pt, .safetensors or .json."""
        del command
        if suffix == ".json":
            return (json.dumps(self.array.tolist()) + "\n").encode()
        return mask_bytes(self.array, suffix, "float32")


class ConvertKeywords(TypedDict, total=False):
    """What else `convert` may be told.

    Attributes:
        source: The dialect the mask is in, such as "hf-2d"; None to go by its shape.
        target: The dialect wanted, or "python" for the lines that build it for sdpa.
        heads: Heads, for a 3-D mask of nn.MultiheadAttention.
        queries: Queries, where a mask says keys alone.
        keys: Keys the mask must have.
        batch: Rows, where a mask is the same for all.
        causal: Hide later keys too, which masks of tokens alone leave to the model.
        layers: Layers, for a head mask [head].
        dtype: Type of the numbers; "" for the dialect's usual one.
    """

    source: str | None
    target: str
    heads: int | None
    queries: int | None
    keys: int | None
    batch: int | None
    causal: bool
    layers: int | None
    dtype: str


def convert(
    mask: AnyArray | torch.Tensor | str | os.PathLike[str], **options: Unpack[ConvertKeywords]
) -> Conversion | HeadGates:
    """Say a mask in the dialect of another framework.

    Args:
        mask: The mask, or the file of one.
        **options: `target` and more, see `ConvertKeywords`.

    Returns:
        The mask, which numpy takes as the array it is.

    Raises:
        UsageError: it cannot be read as its dialect, or the other cannot say it.
        NotFoundError: the file cannot be read.
        CannotTraceError: code is wanted and no known rule explains the mask.
        TypeError: an option there is not.
    """
    check_options("convert", options, ConvertKeywords)
    source = options.get("source")
    wanted = ConvertWanted(
        target_of(options.get("target", "")),
        None if source is None else word(Dialect, source, "dialect"),
        Sizes(options.get("batch"), options.get("heads"), options.get("queries"), options.get("keys")),
        options.get("dtype", ""),
        options.get("layers"),
        options.get("causal", False),
    )
    own = mask_of(mask)
    assert own is not None
    return converted(own, wanted)


def target_of(name: str) -> Dialect | None:
    """The dialect asked for; None for Python.

    Raises:
        UsageError: there is none, or it cannot be written.
    """
    if name == PYTHON:
        return None
    if name not in list(Dialect) or name == Dialect.WEIGHTS:
        listed = ", ".join(one for one in Dialect if one is not Dialect.WEIGHTS)
        option = parameter("target", shell="--to")
        raise UsageError(f"{option} {name[:40]!r}: there is no such dialect to write", f"{listed}, or {PYTHON}")
    return Dialect(name)


def converted(mask: Path | torch.Tensor, wanted: ConvertWanted) -> Conversion | HeadGates:
    """Read a mask and say it as it is wanted; raises as `convert`."""
    if Dialect.HEAD_MASK in (wanted.source, wanted.target):
        return _heads(mask, wanted)
    if wanted.source is Dialect.WEIGHTS:
        raise no_tokens(Dialect.WEIGHTS)
    if isinstance(mask, Path) and mask.suffix.lower() == ".py":
        raise UsageError(
            f"{str(mask)!r} is code, which is not run here",
            "save its cells: torch.save(create_mask(mask_mod, B, H, Q, K), 'cells.pt')",
        )
    numbers = MaskNumbers.of(mask)
    source, notes = guessed(numbers, wanted.source, converting=True)
    visible = read(numbers.values, source, wanted.sizes)
    if (bias := bias_of(numbers.values, source)) is not None:
        raise UsageError(
            f"the mask also adds numbers from {bias[0]:g} to {bias[1]:g} to scores it does not block",
            "a conversion says which cells are blocked and nothing else: take the bias off first",
        )
    sizes = wanted.sizes
    if source in _KEYS_ALONE and (wanted.target in _WITH_QUERIES or wanted.causal) and sizes.queries is None:
        sizes = replace(sizes, queries=visible.shape[3])
        notes = (*notes, f"as many queries as keys, {visible.shape[3]}; {parameter('queries')} says otherwise")
    visible = fitted(visible, sizes)
    if wanted.causal:
        visible = np.tril(visible, visible.shape[3] - visible.shape[2])
    found = known(visible)
    written, array = None, None
    if wanted.target is not None:
        array = write(visible, wanted.target, sizes, wanted.dtype)
        written = Written(wanted.target, array.shape, wanted.dtype or CONVENTIONS[wanted.target].types[0])
    result = Converted(
        numbers.name,
        Written(source, numbers.values.shape, numbers.stored),
        written,
        visible,
        Opaque("unrecognised") if found is None else found.rule,
        0 if found is None else found.offset,
        (*notes, *_left_out(source, wanted)),
    )
    conversion = Conversion(result, array, found)
    if array is None:
        _ = conversion.code  # what cannot be said is said at once
    return conversion


def _left_out(source: Dialect, wanted: ConvertWanted) -> tuple[str, ...]:
    """Sentences on what one of two dialects leaves to the model or the kernel."""
    if source in PACKED and wanted.target not in PACKED and not wanted.causal:
        adds = parameter("causal", True)
        return (f"later tokens of a text are visible too: causal is the model's or kernel's; {adds} adds it",)
    if source in _KEYS_ALONE and wanted.target is Dialect.CU_SEQLENS:
        return ("padding is taken out: the tokens are those that are kept, one row behind the other",)
    return ()


def _heads(mask: Path | torch.Tensor, wanted: ConvertWanted) -> HeadGates:
    """A head mask, [head] or [layer, head], as [layer, head], or as [head] with one layer.

    Raises:
        UsageError: it is none, or the other side is a mask of tokens.
        NotFoundError: the file cannot be read.
    """
    if (wanted.source, wanted.target) != (Dialect.HEAD_MASK, Dialect.HEAD_MASK):
        raise no_tokens(Dialect.HEAD_MASK)
    if isinstance(mask, Path) and mask.suffix.lower() == ".json":
        name, values = mask.name, _from_json(mask)
    else:
        numbers = MaskNumbers.of(mask, "the head mask")
        name, values = numbers.name, numbers.values
    gates = read_gates(values, wanted.layers)
    if wanted.dtype not in ("", "float32"):
        raise UsageError(f"head-mask is not written as {wanted.dtype}", f"leave out {parameter('dtype')}")
    return HeadGates(name, gates)


def _from_json(path: Path) -> AnyArray:
    try:
        return np.asarray(json.loads(bytes_of(path, "head mask")))
    except (ValueError, RecursionError) as error:
        raise NotFoundError(
            f"head mask {str(path)!r} cannot be read: it is no list of numbers", "[[1, 0], [1, 1]]: layers, then heads"
        ) from error


def _written(written: Written) -> dict[str, Any]:
    return {"dialect": str(written.dialect), "shape": list(written.shape), "dtype": written.dtype}
