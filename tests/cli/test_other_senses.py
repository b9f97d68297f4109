"""Models that read images or sound: one honest sentence for each kind, and no hint that leads in a circle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import maskviz as public
from maskviz.core.errors import CannotTraceError
from tests import image_text
from tests.conftest import Response
from tests.other_senses import NEEDS_IMAGE, UNREADABLE, saved_with_processor, tiny_senses
from tools.model_types import NEEDS_MORE, model_types
from tools.tiny_configs import tiny_configs

Run = Callable[..., Response]
LEFT_OUT = "the image encoder is left out"


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def picture(tmp_path: Path) -> str:
    return str(image_text.picture(tmp_path / "picture.png"))


@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_a_model_that_reads_no_ids_is_refused_with_what_it_reads(
    maskviz: Run, tmp_path: Path, name: str, picture: str
) -> None:
    folder = tmp_path / name
    tiny_senses(name).save_pretrained(folder)
    said = f"reads {UNREADABLE[name]}, which is not shown yet"
    for more in (("the cat",), ("--ids", "5 6"), ("--ids", "5 6", "--no-weights"), ("the cat", "--image", picture)):
        assert said in flat(maskviz("show", *more, "-m", str(folder), expect=4).stderr)
    for command in (("check", "the cat", "-m"), ("mask", "--length", "16", "-m"), ("importance", "the cat", "-m")):
        assert said in flat(maskviz(*command, str(folder), expect=4).stderr)
    assert said in flat(maskviz("info", str(folder)).stdout)


@pytest.mark.parametrize("name", ["vit", "blip"])
def test_that_is_said_where_its_processor_lies_beside_it_too(
    maskviz: Run, tmp_path: Path, name: str, picture: str
) -> None:
    folder = saved_with_processor(name, tmp_path / name)
    response = maskviz("show", "the cat", "--image", picture, "-m", str(folder), expect=4)
    assert f"reads {UNREADABLE[name]}, which is not shown yet" in response.stderr


@pytest.mark.parametrize("command", ["show", "check", "explain"])
def test_an_image_without_a_text_does_not_lead_in_a_circle(maskviz: Run, picture: str, command: str) -> None:
    place = ("--at", "1,1") if command == "explain" else ()
    response = maskviz(command, "--image", picture, *place, expect=2)
    assert "there is no text beside --image" in response.stderr
    assert "models that read images alone are not shown yet" in flat(response.stderr)


@pytest.mark.parametrize("name", NEEDS_IMAGE)
def test_a_model_that_fails_on_text_alone_says_what_else_it_reads(maskviz: Run, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    tiny_senses(name).save_pretrained(folder)
    said = "cannot be run on text alone: it also reads images"
    for more in ((), ("--no-weights",), ("--random-weights", "1")):
        response = maskviz("show", "--ids", "5 6 7", *more, "-m", str(folder), expect=4)
        assert said in response.stderr
        assert "--image FILE" in response.stderr
    assert said in maskviz("importance", "--ids", "5 6 7", "-m", str(folder), expect=4).stderr
    assert said in maskviz("mask", "--length", "16", "-m", str(folder), expect=4).stderr
    assert said in flat(maskviz("info", str(folder)).stdout)


def test_with_its_image_such_a_model_is_shown(maskviz: Run, tmp_path: Path, picture: str) -> None:
    folder = saved_with_processor("clip", tmp_path / "clip")
    assert "causal" in maskviz("show", "the cat", "--image", picture, "-m", str(folder)).stdout


def test_codes_of_sound_are_said(maskviz: Run, tmp_path: Path) -> None:
    tiny_senses("musicgen_decoder").save_pretrained(tmp_path)
    response = maskviz("show", "--ids", "5 6 7", "-m", str(tmp_path), expect=4)
    assert "reads sound as the codes of 4 codebooks" in response.stderr


def test_the_api_says_the_same() -> None:
    inputs = {
        "vit": {"pixel_values": torch.zeros(1, 3, 28, 28)},
        "whisper": {"input_features": torch.zeros(1, 8, 32)},
        "wav2vec2": {"input_values": torch.zeros(1, 200)},
    }
    for name, given in inputs.items():
        with pytest.raises(CannotTraceError, match=f"reads {UNREADABLE[name]}, which is not shown yet"):
            public.trace(tiny_senses(name), given)
    with pytest.raises(CannotTraceError, match="cannot be run on text alone"):
        public.trace(tiny_senses("clip"), {"input_ids": torch.tensor([[5, 6]])})
    for rows in (4, 8):
        with pytest.raises(CannotTraceError, match=f"makes {rows // 4} of the {rows} rows"):
            public.trace(tiny_senses("musicgen_decoder"), {"input_ids": torch.full((rows, 6), 5)})


def test_a_model_of_images_that_is_given_ids_beside_them_is_run_as_it_is() -> None:
    inputs = {"pixel_values": torch.randn(1, 3, 28, 28), "input_ids": torch.tensor([[5, 6, 7]])}
    model = tiny_senses("blip")
    trace = public.trace(model, inputs)
    assert trace.drift is not None
    assert trace.drift < 1e-4
    assert {call.module.partition(".")[0] for call in trace.calls} == {"text_decoder"}
    assert any("image encoder is left out" in note for note in trace.notes)


def test_what_fails_for_another_reason_keeps_that_reason() -> None:
    text = torch.full((1, 900), 5)
    with pytest.raises(CannotTraceError) as caught:
        public.trace(tiny_senses("clip"), {"input_ids": text, "pixel_values": torch.zeros(1, 3, 28, 28)})
    assert "text alone" not in caught.value.message


def test_a_class_whose_library_is_missing_is_said(
    maskviz: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses(type):
        """As transformers' stand-ins for classes whose library is missing."""

        def __getattribute__(cls, name: str) -> object:
            if name.startswith(("_from", "from")):
                raise ImportError("NeedsMore requires the no_such_library library")
            return super().__getattribute__(name)

    class NeedsMore(metaclass=Refuses):
        pass

    tiny_senses("vit").config.save_pretrained(tmp_path)
    monkeypatch.setattr("maskviz.load.models.model.model_class", lambda *_: NeedsMore)
    response = maskviz("info", str(tmp_path), expect=3)
    assert "requires the no_such_library library" in response.stderr


def test_a_type_whose_name_begins_as_an_auto_class_is_no_auto_class(maskviz: Run, tmp_path: Path) -> None:
    from transformers import AutoformerConfig

    config = AutoformerConfig(prediction_length=4, context_length=8, d_model=16, lags_sequence=[1, 2])
    config.architectures = ["AutoformerModel"]
    config.save_pretrained(tmp_path)
    assert "reads time series, which is not shown yet" in flat(maskviz("info", str(tmp_path)).stdout)


def test_a_text_that_fails_a_model_of_both_is_not_blamed_on_the_image() -> None:
    model = image_text.tiny_image_text("llava")
    with pytest.raises(CannotTraceError) as caught:
        public.trace(model, {"input_ids": torch.tensor([[5, 6]]), "inputs_embeds": torch.zeros(1, 2, 32)})
    assert "text alone" not in caught.value.message


def test_info_lists_both_halves_of_a_model_it_cannot_run(maskviz: Run, tmp_path: Path) -> None:
    tiny_senses("whisper").save_pretrained(tmp_path)
    encoder, _, decoder = maskviz("info", str(tmp_path)).stdout.partition("decoder layers")
    assert "encoder layers" in encoder
    assert ["0-2", "no", "window", "named", "4", "4"] in [line.split() for line in encoder.splitlines()]
    assert ["0-1", "no", "window", "named", "2", "2"] in [line.split() for line in decoder.splitlines()]


@pytest.mark.parametrize("name", sorted(image_text.MODELS))
def test_pages_of_image_text_models_say_that_the_image_encoder_is_left_out(
    maskviz: Run, tmp_path: Path, picture: str, name: str
) -> None:
    folder = str(image_text.saved_with_processor(name, tmp_path / name))
    for command in (
        ("show", "the cat", "-m", folder),
        ("show", "the cat", "--image", picture, "-m", folder),
        ("show", "--ids", "5 6", "--no-weights", "-m", folder),
        ("info", folder),
        ("mask", "--length", "16", "-m", folder),
    ):
        assert LEFT_OUT in flat(maskviz(*command).stdout)


@pytest.mark.parametrize("name", sorted(name for name, what in NEEDS_MORE.items() if what in ("an image", "audio")))
def test_no_type_that_needs_an_image_or_sound_ends_in_a_message_of_python(
    maskviz: Run, tmp_path: Path, name: str
) -> None:
    known = model_types().get(name)
    if known is None:
        pytest.skip("this transformers does not have it")
    try:
        config = next(iter(tiny_configs(known.config_class)))
    except Exception:  # the rules that shrink configs do not fit every type
        pytest.skip("no tiny config")
    config.architectures = [known.model_classes[0].__name__]
    config.save_pretrained(tmp_path)
    ids = ("--ids", "5 6 7", "--target-ids", "5 6")
    response = maskviz("show", *ids, "-m", str(tmp_path / "config.json"), expect=(0, 2, 3, 4))
    if "no model can be built" not in response.stderr:
        assert "Error:" not in response.stderr


def test_pages_of_text_models_say_nothing_of_it(maskviz: Run) -> None:
    assert "left out" not in maskviz("show", "the cat").stdout
