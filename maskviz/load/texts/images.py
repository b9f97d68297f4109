"""Texts with images: the model's own processor makes the inputs."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.writing import parameter
from maskviz.load.models.model import Loaded, quiet
from maskviz.load.models.source import Source, explained, in_one_line
from maskviz.load.texts.request import check_reads_text

_MOST_BYTES = 200_000_000
_IMAGE_IDS = ("image_token_id", "image_token_index")
_IMAGE_TOKENS = ("image_token", "boi_token")


@dataclass(frozen=True, slots=True, eq=False)
class Processed:
    """What a processor made of texts and images.

    Attributes:
        ids: int64 [batch, token].
        keep: bool [batch, token], False = padding.
        is_image: bool [batch, token], True where a token stands for a part of an image.
        inputs: Everything the processor returned, on the model's device.
        notes: What was done to the texts.
    """

    ids: IntArray
    keep: BoolArray
    is_image: BoolArray
    inputs: dict[str, Any]
    notes: tuple[str, ...] = ()


def load_processor(source: Source, loaded: Loaded) -> Any:
    """Load what makes a model's inputs from text and images.

    Raises:
        CannotTraceError: the model reads no images.
        MaskvizError: it comes without a processor, or with one that cannot be loaded.
    """
    from transformers import AutoProcessor  # it takes a second to import, and few runs have images

    quiet()
    check_reads_text(loaded.model)
    parameters = inspect.signature(loaded.model.forward).parameters
    if not any("pixel" in name or "image" in name for name in parameters):
        raise CannotTraceError(f"{loaded.card.architecture} reads no images", f"leave out {parameter('image')}")
    arguments = {name: value for name, value in source.arguments.items() if name != "gguf_file"}
    with explained(source, "processor"):
        processor = AutoProcessor.from_pretrained(source.location, **arguments)
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise NotFoundError(
            f"{source.name!r} comes without a processor of text and images",
            "a folder that processor.save_pretrained wrote has preprocessor_config.json or processor_config.json",
        )
    return processor


def read_image(path: Path) -> Image.Image:
    """Read an image as RGB, the first frame of a moving one.

    Raises:
        NotFoundError: the file is missing, damaged, no image, or absurdly large.
    """
    hint = "give a picture such as photo.png or photo.jpg"
    try:
        if not path.is_file():
            raise NotFoundError(f"image file {str(path)!r} does not exist or is no file", hint)
        if path.stat().st_size > _MOST_BYTES:
            raise NotFoundError(f"image file {str(path)!r} has more than 200 MB", hint)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.convert("RGB")
    except UnidentifiedImageError as error:
        raise NotFoundError(f"file {str(path)!r} is no image that can be read", hint) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise NotFoundError(f"image file {str(path)!r} has too many pixels", "make it smaller") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise NotFoundError(f"image file {str(path)!r} is damaged: {in_one_line(str(error))}", hint) from error


def processed(
    loaded: Loaded, processor: Any, texts: Sequence[str], paths: Sequence[Path], padding_side: str | None
) -> Processed:
    """Make a model's inputs from texts and images: one image per text, one for all, or several for a single text.

    A text that names no image gets the processor's own image token in front, once per image.

    Raises:
        UsageError: the images cannot be dealt out, or the processor refuses text and images.
        NotFoundError: an image cannot be read.
    """
    images = _dealt([read_image(path) for path in paths], len(texts))
    refused = ""
    for front in ("", *_fronts(processor, texts)):
        given = [front * len(own) + text for text, own in zip(texts, images, strict=True)]
        side = {} if padding_side is None else {"padding_side": padding_side}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # advice between libraries
                made = dict(processor(text=given, images=images, padding=True, return_tensors="pt", **side))
        except Exception as error:  # processors raise kinds of their own, and every one is about the input
            refused = refused or in_one_line(str(error))
            continue
        ids = made["input_ids"]
        is_image = torch.isin(ids, torch.tensor(_image_ids(loaded, processor), dtype=ids.dtype))
        if is_image.any() or not _fronts(processor, texts):
            notes = (f"no text names an image: {front!r} was put in front of each",) if front else ()
            return _on_device(loaded, made, is_image, notes)
    raise UsageError(
        f"the processor of {loaded.card.name!r} refuses this text and image"
        + (f": {refused}" if refused else ", or finds no place for the image in the text"),
        "write the model's image token into the text, once per image",
    )


def _fronts(processor: Any, texts: Sequence[str]) -> tuple[str, ...]:
    """What may stand for an image before a text that names none; nothing where a text names one."""
    tokens = dict.fromkeys(str(getattr(processor, name, None) or "") for name in _IMAGE_TOKENS)
    known = tuple(token for token in tokens if token)
    return () if any(token in text for token in known for text in texts) else known


def _dealt(images: list[Image.Image], texts: int) -> list[list[Image.Image]]:
    if texts == 1:
        return [images]
    if len(images) == 1:
        return [images] * texts
    if len(images) != texts:
        raise UsageError(
            f"there are {len(images)} {parameter('image')} and {texts} texts", "give one per text, or one for all"
        )
    return [[image] for image in images]


def _image_ids(loaded: Loaded, processor: Any) -> list[int]:
    """Ids of the tokens that stand for parts of an image, from the model's config, else from the processor."""
    found = [getattr(owner, name, None) for owner in (loaded.model.config, processor) for name in _IMAGE_IDS]
    return [one for one in found if isinstance(one, int)][:1]


def _on_device(loaded: Loaded, made: dict[str, Any], is_image: torch.Tensor, notes: tuple[str, ...]) -> Processed:
    ids = made["input_ids"]
    keep = made.get("attention_mask", torch.ones_like(ids)).bool()
    inputs = dict(_placed(loaded, made))
    return Processed(np.asarray(ids), np.asarray(keep), np.asarray(is_image & keep), inputs, notes)


def _placed(loaded: Loaded, made: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, one in made.items():
        if isinstance(one, torch.Tensor):
            one = one.to(loaded.device, loaded.model.dtype if one.is_floating_point() else one.dtype)
        yield name, one
