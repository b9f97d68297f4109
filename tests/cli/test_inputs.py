"""`--inputs FILE`: the arguments of a forward as somebody dumped them, in every command that runs a model."""

from __future__ import annotations

import inspect
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import BrosConfig, BrosModel, LayoutLMConfig, LayoutLMForMaskedLM

import maskviz
from maskviz.core.errors import UsageError
from maskviz.load.inputs.files import read_inputs
from tests.architectures import tiny
from tests.conftest import Response

Run = Callable[..., Response]
IDS = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])
KEEP = (IDS != 0).long()
SUFFIXES = (".npz", ".safetensors", ".pt", ".json")


def dumped(path: Path, **inputs: Any) -> Path:
    """A file of arguments in the format of its suffix."""
    match path.suffix:
        case ".npz":
            arrays: dict[str, Any] = {name: np.asarray(one) for name, one in inputs.items()}
            np.savez(path, **arrays)
        case ".safetensors":
            save_file({name: one.contiguous() for name, one in inputs.items()}, path)
        case ".pt":
            torch.save(inputs, path)
        case _:
            path.write_text(json.dumps({name: one.tolist() for name, one in inputs.items()}), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_each_format_is_the_batch_it_holds(maskviz: Run, tmp_path: Path, suffix: str) -> None:
    path = dumped(tmp_path / f"inputs{suffix}", input_ids=IDS, attention_mask=KEEP)
    shown = maskviz("show", "-m", "demo:gpt", "--inputs", str(path), "-o", str(tmp_path / "run.npz"))
    assert shown.exit_code == 0
    trace = maskviz_trace(tmp_path)
    assert np.array_equal(trace.batch.ids, IDS.numpy())
    assert np.array_equal(trace.batch.keep, KEEP.bool().numpy())
    assert str(trace.calls[0].mask.rule) == "causal ∧ padding"


def maskviz_trace(folder: Path) -> Any:
    return maskviz.load_trace(folder / "run.npz")


COMMANDS = [
    ("show",),
    ("show", "--head-mask", "0:1"),
    ("explain", "--at", "2,1"),
    ("heads",),
    ("importance",),
    ("prune",),
    ("check", "--for", "forward"),
    ("diff", "--attn", "eager,sdpa"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: " ".join(one[:2]))
def test_every_command_that_runs_a_model_takes_them(maskviz: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    path = dumped(tmp_path / "inputs.npz", input_ids=IDS, attention_mask=KEEP)
    ids = ("--ids", "5 6 7 8 9", "--ids", "10 11 12")
    given = maskviz(*command, "-m", "demo:gpt", "--inputs", str(path)).stdout
    # The demo's own padding id is another: what is shown must not depend on it.
    expected = maskviz(*command, "-m", "demo:gpt", *ids, *RIGHT.get(command[0], ())).stdout
    assert numbers(given) == numbers(expected)


RIGHT = dict.fromkeys(("show", "explain", "heads", "check", "diff"), ("--padding-side", "right"))


def numbers(text: str) -> list[str]:
    """The numbers of a page but those of its first lines, which name the batch."""
    apart = ("|>", "inputs", "moved")
    lines = [line for line in text.splitlines()[2:] if not any(word in line for word in apart)]
    return [word for line in lines for word in line.split() if word.strip("%+-.,").replace(".", "").isdigit()]


@pytest.mark.parametrize("kind", ["layoutlm", "bros"])
def test_models_that_read_boxes_get_the_boxes_of_the_file(tmp_path: Path, kind: str) -> None:
    sizes: dict[str, Any] = {"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    model: Any = (
        LayoutLMForMaskedLM(LayoutLMConfig(**sizes, intermediate_size=40))
        if kind == "layoutlm"
        else BrosModel(BrosConfig(**sizes, intermediate_size=40))
    )
    model.set_attn_implementation("eager")
    boxes = torch.randint(0, 500, (2, 5, 2)).repeat(1, 1, 2)
    boxes[..., 2:] += 20
    inputs = {"input_ids": IDS, "attention_mask": KEEP, "bbox": boxes}
    trace = maskviz.trace(model.eval(), read_inputs(dumped(tmp_path / "inputs.safetensors", **inputs)))
    with torch.no_grad():
        own = model(**inputs, output_attentions=True).attentions
    other = maskviz.trace(model, {**inputs, "bbox": boxes // 2})
    for call, maps, without in zip(trace.calls, own, other.calls, strict=True):
        assert call.pattern is not None
        assert without.pattern is not None
        real = KEEP.bool().numpy()[:, None, :, None]
        np.testing.assert_allclose(np.where(real, call.pattern, 0), np.where(real, maps.numpy(), 0), atol=1e-5)
        assert not np.allclose(call.pattern, without.pattern, atol=1e-4), "the boxes must matter"


def test_an_argument_the_forward_does_not_name_is_named_with_the_nearest(maskviz: Run, tmp_path: Path) -> None:
    path = dumped(tmp_path / "inputs.npz", input_ids=IDS, attention_masks=KEEP)
    said = " ".join(maskviz("show", "-m", "demo:gpt", "--inputs", str(path)).stdout.split())
    assert "takes no 'attention_masks', and passes it on to whatever may read it; the nearest it has is" in said


def test_an_argument_that_would_raise_is_a_wrong_usage(maskviz: Run, tmp_path: Path) -> None:
    path = dumped(tmp_path / "inputs.npz", input_ids=IDS, atention_mask=KEEP)
    model = tiny("bloom")
    if any(one.kind is one.VAR_KEYWORD for one in inspect.signature(model.forward).parameters.values()):
        pytest.skip("its forward hands on what it does not name")
    tiny("bloom").save_pretrained(tmp_path / "bloom")
    said = maskviz("show", "-m", str(tmp_path / "bloom"), "--inputs", str(path), expect=2).stderr
    assert "takes no 'atention_mask'" in said
    assert "the nearest it has is attention_mask" in said


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("code ran",))


def damaged(folder: Path) -> dict[str, Path]:
    files = {name: folder / name for name in ("no.npz", "cut.npz", "code.pt", "no.json", "text.json", "empty.pt")}
    files["no.npz"].write_bytes(b"PK nothing")
    whole = dumped(folder / "whole.npz", input_ids=IDS).read_bytes()
    files["cut.npz"].write_bytes(whole[: len(whole) // 2])
    files["code.pt"].write_bytes(pickle.dumps({"input_ids": Evil()}))
    files["no.json"].write_text("{", encoding="utf-8")
    files["text.json"].write_text('{"input_ids": [["a"]]}', encoding="utf-8")
    files["empty.pt"].write_bytes(b"")
    bomb = folder / "bomb.npz"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("input_ids.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(2200):
            member.write(b"\0" * 2**20)
    return {**files, "bomb.npz": bomb, "missing.npz": folder / "missing.npz"}


def test_damaged_files_and_files_with_code_are_refused_in_two_lines(
    maskviz: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, path in damaged(tmp_path).items():
        response = maskviz("show", "--inputs", str(path), expect=3)
        assert f"inputs file '{path}'" in response.stderr, name
        assert response.stderr.count("\n") == 2, name
    assert "code ran" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "beside",
    [("a text",), ("--ids", "5 6"), ("--pair", "b"), ("--max-length", "3"), ("--packed",), ("--past", "2")],
    ids=lambda one: one[0],
)
def test_what_would_make_other_inputs_is_refused_beside_them(
    maskviz: Run, tmp_path: Path, beside: tuple[str, ...]
) -> None:
    path = dumped(tmp_path / "inputs.npz", input_ids=IDS)
    said = maskviz("show", "-m", "demo:gpt", *beside, "--inputs", str(path), expect=2).stderr
    assert "--inputs" in said
    assert "are given together" in said


def test_python_takes_the_file_too_and_nothing_beside_it(tmp_path: Path) -> None:
    path, model = dumped(tmp_path / "inputs.npz", input_ids=IDS, attention_mask=KEEP), tiny("llama")
    given, expected = maskviz.trace(model, inputs=path), maskviz_of(model)
    for call, other in zip(given.calls, expected.calls, strict=True):
        assert np.array_equal(call.mask.visible, other.mask.visible)
    for beside in ({"text": "a"}, {"ids": [[5]]}, {"max_length": 3}):
        with pytest.raises(UsageError):
            maskviz.trace(model, inputs=path, **beside)


def test_embeddings_in_the_place_of_ids_are_shown_by_their_numbers(maskviz: Run, tmp_path: Path) -> None:
    model = tiny("llama")
    model.save_pretrained(tmp_path)
    embedded = model.get_input_embeddings()(IDS).detach()
    path = dumped(tmp_path / "inputs.safetensors", inputs_embeds=embedded, attention_mask=KEEP)
    maskviz("show", "-m", str(tmp_path), "--inputs", str(path), "-o", str(tmp_path / "run.npz"))
    trace, expected = maskviz_trace(tmp_path), maskviz_of(model)
    assert trace.batch.tokens[0] == ("#0", "#1", "#2", "#3", "#4")
    for call, other in zip(trace.calls, expected.calls, strict=True):
        np.testing.assert_allclose(call.pattern, other.pattern, atol=1e-5)


def maskviz_of(model: Any) -> Any:
    return maskviz.trace(model, {"input_ids": IDS, "attention_mask": KEEP})
