"""Texts with images: the processor's own inputs, the model's own attention, image tokens told apart."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoProcessor, masking_utils

from maskviz.core.errors import CannotTraceError, MaskvizError, NotFoundError, UsageError
from maskviz.core.panels.page import TokenStrip
from maskviz.core.run.heads import parse_head_mask
from maskviz.core.run.trace import Trace
from maskviz.core.words import Role
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.load.texts.images import load_processor, read_image
from maskviz.store.archive import npz_bytes, read_npz
from maskviz.store.saved import Saved
from maskviz.tracing.meaning.evidence import position_note
from maskviz.tracing.run import head_shapes, run, run_gated
from maskviz.view.choosing import Choice
from maskviz.view.show import show_page
from tests.architectures import tiny
from tests.image_text import picture, saved_with_processor
from tests.tracing.conftest import loaded_tiny

NEW = hasattr(masking_utils, "remap_positions_for_packed_sequence")
TEXTS = ("What is it?", "The cat sat on the mat")
# Tokens an image becomes, and the rules of the layers.
IMAGES = {"gemma3": 4, "paligemma": 16, "llava": 16}
RULES = {
    "gemma3": {
        "(causal ∨ same span) ∧ padding",
        "window(4) ∧ (causal ∨ same span) ∧ padding" if NEW else "((causal ∧ window(4)) ∨ same span) ∧ padding",
    },
    "paligemma": {"(causal ∨ same span) ∧ padding"},
    "llava": {"causal ∧ padding"},
}


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A model with its processor, called with two texts and an image."""

    folder: Path
    image: Path
    loaded: Loaded
    encoded: Encoded
    trace: Trace


def with_processor(folder: Path) -> Loaded:
    source = resolve(str(folder))
    loaded = load_model(source, load_config(source), device="cpu")
    return replace(loaded, processor=load_processor(source, loaded))


@pytest.fixture(scope="module", params=sorted(IMAGES))
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = saved_with_processor(request.param, tmp_path_factory.mktemp("image") / request.param)
    image = picture(folder / "picture.png")
    loaded = with_processor(folder)
    encoded = encode(loaded, Request(TEXTS, images=(image,)))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    return Seen(folder, image, loaded, encoded, trace)


def test_the_inputs_are_the_processors_own(seen: Seen) -> None:
    processor: Any = AutoProcessor.from_pretrained(seen.folder)
    front = {"gemma3": "<boi>", "paligemma": "", "llava": "<image>"}[seen.folder.name]
    assert bool(seen.encoded.notes) is bool(front)
    pixels = Image.open(seen.image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PaliGemma's processor reads an array as numpy 2 no longer likes
        own = processor(text=[front + text for text in TEXTS], images=[[pixels]] * 2, padding=True, return_tensors="pt")
    assert set(seen.encoded.inputs) == set(own)
    for name, value in own.items():
        assert torch.equal(seen.encoded.inputs[name], value), name
    assert np.array_equal(seen.encoded.batch.ids, own["input_ids"])
    assert np.array_equal(seen.encoded.batch.keep, own["attention_mask"].bool())


def test_attention_is_what_the_model_returns_and_the_rule_agrees(seen: Seen) -> None:
    config = transformers.AutoConfig.from_pretrained(seen.folder, attn_implementation="eager")
    own: Any = type(seen.loaded.model).from_pretrained(seen.folder, config=config, attn_implementation="eager")
    with torch.no_grad():
        returned = own(**copy.deepcopy(seen.encoded.inputs), output_attentions=True).attentions
    assert {str(call.mask.rule) for call in seen.trace.calls} == RULES[seen.folder.name]
    assert [call.layer for call in seen.trace.calls] == [0, 1, 2], "the image's own encoder reads no tokens"
    for call, maps in zip(seen.trace.calls, [one.numpy() for one in returned], strict=True):
        real = seen.trace.real_queries(call)
        assert call.mask.agrees is True
        assert call.pattern is not None
        rows, own_rows = (array.transpose(0, 2, 1, 3)[real] for array in (call.pattern, maps))
        np.testing.assert_allclose(rows, own_rows, atol=1e-6, rtol=0)
        visible = np.broadcast_to(call.mask.visible, maps.shape).transpose(0, 2, 1, 3)[real]
        assert np.array_equal(visible, own_rows > 0)
    assert seen.trace.notes == ()
    assert seen.trace.drift is not None
    assert seen.trace.drift < 1e-4
    assert position_note(seen.loaded.model, seen.encoded.inputs, seen.trace) == ()


def test_image_tokens_are_told_apart_and_folded_in_the_strip(seen: Seen, tmp_path: Path) -> None:
    count = IMAGES[seen.folder.name]
    for row in range(2):
        roles = [role for role in seen.trace.batch.roles[row] if role is Role.IMAGE]
        assert len(roles) == count
    (strip,) = [panel for panel in show_page(seen.trace, Choice()).panels if isinstance(panel, TokenStrip)]
    numbered = list(strip.numbered(1))
    places = [place for place, role in enumerate(seen.trace.batch.roles[1]) if role is Role.IMAGE]
    folded = [(number, token) for number, token in numbered if token.role == "image"]
    assert [number for number, _ in folded] == [f"{places[0]}-{places[-1]}"]
    assert folded[0][1].text == f"<image> × {count}"
    assert numbered[-1][0] == str(seen.trace.batch.length - 1)
    path = tmp_path / "run.npz"
    path.write_bytes(npz_bytes(Saved(seen.trace)))
    assert read_npz(path).trace.batch.roles == seen.trace.batch.roles


def test_parts_of_an_image_are_no_words_to_predict(seen: Seen) -> None:
    assert seen.trace.outputs is not None
    assert seen.trace.outputs.token_loss is not None
    images = np.array([[role is Role.IMAGE for role in row] for row in seen.trace.batch.roles])
    assert np.isnan(seen.trace.outputs.token_loss[images]).all()
    assert not np.isnan(seen.trace.outputs.token_loss[:, -1]).any()


def test_a_head_of_the_text_is_gated_and_none_of_the_image_encoder(seen: Seen) -> None:
    mask = parse_head_mask("2:0,1", head_shapes(seen.trace))
    gated = run_gated(seen.loaded.model, seen.encoded.inputs, seen.trace, mask)
    pruned = copy.deepcopy(seen.loaded.model)
    weight: Any = pruned.get_submodule(f"{seen.trace.calls[2].module}.o_proj").weight
    with torch.no_grad():
        weight[:, : weight.shape[1] // 2] = 0
        expected: Any = pruned(**copy.deepcopy(seen.encoded.inputs)).logits
    assert gated.outputs is not None
    for (row, place), logits in zip(gated.outputs.places.tolist(), gated.outputs.logits, strict=True):
        np.testing.assert_allclose(logits, expected[row, place].numpy(), atol=1e-4, rtol=1e-4)


def test_a_text_that_names_its_image_is_left_as_it_is(seen: Seen) -> None:
    token = "<boi>" if seen.folder.name == "gemma3" else "<image>"
    encoded = encode(seen.loaded, Request((f"Look: {token} there",), images=(seen.image,)))
    assert encoded.notes == ()
    assert [role is Role.IMAGE for role in encoded.batch.roles[0]].count(True) == IMAGES[seen.folder.name]


def test_images_are_dealt_one_per_text_or_all_to_a_single_text(seen: Seen, tmp_path: Path) -> None:
    other = picture(tmp_path / "other.jpg", seed=1)
    each = encode(seen.loaded, Request(TEXTS, images=(seen.image, other)))
    assert not torch.equal(each.inputs["pixel_values"][0], each.inputs["pixel_values"][1])
    with pytest.raises(UsageError, match="there are 3 image= and 2 texts"):
        encode(seen.loaded, Request(TEXTS, images=(seen.image,) * 3))
    if seen.folder.name != "paligemma":  # reads one image a text
        both = encode(seen.loaded, Request(TEXTS[:1], images=(seen.image, other)))
        assert [role is Role.IMAGE for role in both.batch.roles[0]].count(True) == 2 * IMAGES[seen.folder.name]


def test_an_image_sees_itself_whole_and_no_image_sees_a_later_one(tmp_path: Path) -> None:
    folder = saved_with_processor("gemma3", tmp_path / "gemma3")
    loaded = with_processor(folder)
    images = (picture(tmp_path / "a.png"), picture(tmp_path / "b.png", seed=1))
    encoded = encode(loaded, Request(TEXTS[:1], images=images))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    places = [place for place, role in enumerate(trace.batch.roles[0]) if role is Role.IMAGE]
    first, second = places[:4], places[4:]
    visible = trace.calls[0].mask.visible[0, 0]
    assert visible[np.ix_(first, first)].all()
    assert visible[np.ix_(second, second)].all()
    assert visible[np.ix_(second, first)].all()
    assert not visible[np.ix_(first, second)].any()


FORBIDDEN: list[tuple[Request, str]] = [
    (Request(ids=((5,),), images=(Path("a.png"),)), "image= and ids="),
    (Request(("a",), pairs=("b",), images=(Path("a.png"),)), "image= and pair="),
    (Request(("a",), targets=("b",), images=(Path("a.png"),)), "image= and target="),
    (Request(("a", "b"), packed=True, images=(Path("a.png"),)), "image= and packed="),
    (Request(("a",), pad_to=9, images=(Path("a.png"),)), "image= and pad_to="),
    (Request(("a",), max_length=9, images=(Path("a.png"),)), "image= and max_length="),
    (Request(("a",), token_types=((1,),), images=(Path("a.png"),)), "image= and token_types="),
    (Request(("a",), cumulative_positions=True, images=(Path("a.png"),)), "image= and position_ids="),
]


@pytest.mark.parametrize(("request_", "said"), FORBIDDEN, ids=[said for _, said in FORBIDDEN])
def test_what_does_not_go_with_images_is_said(request_: Request, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        encode(loaded_tiny("llama"), request_)


def test_files_that_are_no_image_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = picture(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    for name, said in (
        ("missing.png", "does not exist"),
        (".", "is no file"),
        ("cut.png", "is damaged"),
        ("empty.png", "is no image"),
        ("text.png", "is no image"),
    ):
        with pytest.raises(NotFoundError, match=said):
            read_image(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(NotFoundError, match="too many pixels"):
        read_image(whole)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with pytest.raises(NotFoundError, match="too many pixels"):
        read_image(whole)


def test_pictures_of_every_mode_are_read_as_rgb(tmp_path: Path) -> None:
    for mode in ("1", "L", "P", "RGBA", "CMYK", "I;16"):
        path = tmp_path / f"{mode[0]}.tiff"
        Image.new(mode, (8, 8)).save(path)
        assert read_image(path).mode == "RGB"


def refused(folder: Path) -> MaskvizError:
    source = resolve(str(folder))
    with pytest.raises(MaskvizError) as caught:
        load_processor(source, load_model(source, load_config(source), device="cpu"))
    return caught.value


def test_a_text_only_model_and_one_without_a_processor_are_refused(tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path / "llama")
    error = refused(tmp_path / "llama")
    assert isinstance(error, CannotTraceError)
    assert error.message == "LlamaForCausalLM reads no images"
    folder = saved_with_processor("llava", tmp_path / "llava")
    for path in [*folder.glob("*processor*.json")]:
        path.unlink()
    error = refused(folder)
    assert isinstance(error, NotFoundError)
    assert "processor" in error.message
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert isinstance(refused(folder), NotFoundError)
