"""`show --attn`: what a backend would be handed, on the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from tests.architectures import tiny
from tests.conftest import Response
from tests.stable import stable

Run = Callable[..., Response]
PACKED = ("show", "-m", "demo:gpt", "The cat sat.", "The dog ran.", "--packed", "--layer", "0", "--head", "0")


def test_the_page_says_what_is_handed_over(maskviz: Run, golden: Callable[[str, str], None]) -> None:
    golden("cli_show_attn", stable(maskviz(*PACKED, "--attn", "flash_attention_2").stdout))


def test_nothing_else_on_the_page_changes(maskviz: Run) -> None:
    plain = maskviz(*PACKED).stdout
    with_table = maskviz(*PACKED, "--attn", "sdpa").stdout
    before, _, behind = with_table.partition("handed to sdpa\n")
    table, _, behind = behind.partition("\nhead 0.0")
    assert stable(f"{before}head 0.0{behind}") == stable(plain)
    assert "no mask, is_causal=True  the same cells" in table


def test_an_unknown_backend_is_a_wrong_usage(maskviz: Run) -> None:
    response = maskviz("show", "x", "--attn", "flash", expect=2)
    assert response.stderr.startswith("maskviz: error: --attn 'flash' is no attention backend")
    assert "there are eager, sdpa, flex_attention, flash_attention_2" in response.stderr


@pytest.mark.parametrize(
    "typed", [("--attn", "sdpa,flash_attention_2"), ("--attn", "sdpa", "--attn", " flash_attention_2")]
)
def test_several_backends_are_asked_one_after_the_other(maskviz: Run, typed: tuple[str, ...]) -> None:
    both = maskviz(*PACKED, *typed).stdout
    for backend in ("sdpa", "flash_attention_2"):
        alone = maskviz(*PACKED, "--attn", backend).stdout
        table = alone[alone.index(f"handed to {backend}") : alone.index("\nhead 0.0")]
        assert table in both
    assert both.index("handed to sdpa") < both.index("handed to flash_attention_2")


def test_commands_that_ask_one_or_two_backends_take_no_others_in_silence(maskviz: Run) -> None:
    check = maskviz("check", "-m", "demo:gpt", "The cat", "--attn", "eager", "--attn", "sdpa", expect=2)
    assert "--attn names 2 backends: eager, sdpa" in check.stderr
    three = ("--attn", "eager,sdpa", "--attn", "flash_attention_2")
    assert "is no two backends" in maskviz("diff", "-m", "demo:gpt", "The cat", *three, expect=2).stderr
    pair = ("diff", "-m", "demo:gpt", "The cat", "--attn")
    assert maskviz(*pair, "eager", "--attn", "sdpa").stdout == maskviz(*pair, "eager,sdpa").stdout


@pytest.mark.parametrize(
    ("model_type", "backend", "said"),
    [
        ("bloom", "sdpa", "! sdpa: BloomForCausalLM does not support an attention implementation through"),
        ("mistral", "flash_attention_2", "no mask, causal=True, window_size=(3, 3)  the same cells"),
    ],
)
def test_models_of_every_kind_answer(maskviz: Run, tmp_path: Path, model_type: str, backend: str, said: str) -> None:
    tiny(model_type).save_pretrained(tmp_path)
    response = maskviz("show", "-m", str(tmp_path), "--ids", "5 6 7 8 9 10", "--attn", backend, "--head", "0")
    assert said in " ".join(response.stdout.replace("\n", " ").split()) or said in response.stdout


def test_attention_written_by_hand_is_said_to_be_handed_nothing(
    maskviz: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers.BloomForCausalLM, "_supports_flash_attn", True)
    tiny("bloom").save_pretrained(tmp_path)
    arguments = ("-m", str(tmp_path), "--ids", "5 6 7 8 9 10", "--attn", "flash_attention_2", "--head", "0")
    assert "nothing: attention written by hand" in " ".join(maskviz("show", *arguments).stdout.split())


def test_it_goes_with_a_cache_a_batch_and_no_weights(maskviz: Run, tmp_path: Path) -> None:
    tiny("llama").config.save_pretrained(tmp_path)
    config = str(tmp_path / "config.json")
    step = maskviz("show", "-m", config, "--ids", "5 6 7 8 9", "--past", "4", "--attn", "sdpa").stdout
    assert "no mask, is_causal=False  the same cells" in step
    steps = maskviz("show", "-m", "demo:gpt", "The cat", "--step", "2", "--attn", "sdpa", "--head", "0", "--layer", "0")
    assert "no mask, is_causal=True; then no mask, is_causal=False" in " ".join(steps.stdout.split())
    batch = maskviz("show", "-m", config, "--ids", "5 6 7", "--ids", "8 9", "--attn", "flash_attention_2").stdout
    assert "cut into texts of 3, 2 tokens" in " ".join(batch.split())


def test_the_data_files_are_the_run_without_it(maskviz: Run, tmp_path: Path) -> None:
    for name, arguments in (("plain", ()), ("asked", ("--attn", "flash_attention_2"))):
        maskviz(*PACKED, *arguments, "-o", str(tmp_path / f"{name}.json"))
    plain, asked = (json.loads((tmp_path / f"{name}.json").read_text("utf-8")) for name in ("plain", "asked"))
    assert plain.keys() == asked.keys()
    assert plain["calls"] == asked["calls"]
