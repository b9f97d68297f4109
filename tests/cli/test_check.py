"""`maskviz check` on models and batches: what it says, in which form, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from maskviz.core.checks.known import TRAPS
from tests.conftest import Response
from tests.store.test_findings import sarif_schema

Maskviz = Callable[..., Response]
TWO = ("The cat sat", "The dog ran into the house")
ROW = {"input_ids": [271, 623, 456, 15], "attention_mask": [1, 1, 1, 1]}


def found(answer: Response) -> list[str]:
    return [one["id"] for one in json.loads(answer.stdout)["findings"]]


def batch(folder: Path, *rows: Any) -> str:
    path = folder / "batch.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in rows))
    return str(path)


def test_right_padding_of_a_decoder_is_found_measured_and_ends_with_5(
    maskviz: Maskviz, golden: Callable[[str, str], None]
) -> None:
    answer = maskviz("check", "-m", "demo:gpt", "--padding-side", "right", "--for", "generate", *TWO, expect=5)
    golden("cli_check_right", answer.stdout)


def test_what_a_batch_is_for_is_asked_where_nothing_tells(maskviz: Maskviz) -> None:
    answer = maskviz("check", "-m", "demo:gpt", "--padding-side", "right", *TWO)
    assert "P3 warning decoder-right-pad-generate" in answer.stdout
    assert "Pad on the left to generate; for a forward pass or training it is right" in answer.stdout


def test_the_same_batch_run_forward_is_right(maskviz: Maskviz) -> None:
    answer = maskviz("check", "-m", "demo:gpt", "--padding-side", "right", "--for", "forward", *TWO)
    assert "no findings" in answer.stdout


def test_left_padding_is_right_with_positions_or_to_generate(maskviz: Maskviz) -> None:
    left = ("check", "-m", "demo:gpt", "--padding-side", "left", *TWO, "--format", "json")
    assert found(maskviz(*left, expect=5)) == ["P4"]
    assert found(maskviz(*left, "--position-ids", "cumsum")) == []
    assert found(maskviz(*left, "--for", "generate")) == []


def test_a_forgotten_mask_is_a_warning_that_may_be_made_to_fail(maskviz: Maskviz) -> None:
    forgotten = ("check", "--no-mask", *TWO, "--format", "json")
    answer = maskviz(*forgotten)
    assert found(answer) == ["P1"]
    assert json.loads(answer.stdout)["findings"][0]["measured"].startswith("0.36 of its attention falls on padding")
    maskviz(*forgotten, "--fail-on", "warning", expect=5)
    maskviz(*forgotten, "--fail-on", "never")
    assert found(maskviz(*forgotten, "--ignore", "P1", "--fail-on", "note")) == []
    assert found(maskviz(*forgotten, "--select", "T,L")) == []


def test_packed_texts_that_see_each_other_are_found_and_the_way_out_is_tried(maskviz: Maskviz) -> None:
    answer = maskviz("check", "-m", "demo:gpt", "--packed", *TWO, "--format", "json", expect=5)
    (finding,) = json.loads(answer.stdout)["findings"]
    assert finding["id"] == "K1"
    assert "with use_cache=False and no attention_mask nothing crosses" in finding["tried"]
    assert "with another first text, outputs of the others move by up to" in finding["measured"]
    maskviz("check", "-m", "demo:gpt", "--packed", "--no-cache", *TWO, "--fail-on", "note")


def test_rows_of_a_file_are_found_with_their_lines(maskviz: Maskviz, tmp_path: Path) -> None:
    file = batch(tmp_path, ROW, "", {"input_ids": [271, 623, 0, 0], "attention_mask": [0, 0, 0, 0]})
    target = tmp_path / "findings.sarif"
    answer = maskviz("check", "-m", "demo:gpt", "--file", file, "-o", str(target), expect=5)
    assert answer.stdout == "" and "1 error" in answer.stderr
    log = json.loads(target.read_text())
    jsonschema.validate(log, sarif_schema())
    (result,) = log["runs"][0]["results"]
    assert result["ruleId"] == "P6"
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}


def test_the_mask_of_a_file_may_be_left_out(maskviz: Maskviz, tmp_path: Path) -> None:
    row = {"input_ids": [271, 623, 456, 0], "attention_mask": [1, 1, 1, 0]}
    asked = ("check", "-m", "demo:gpt", "--file", batch(tmp_path, row), "--for", "forward", "--format", "json")
    assert found(maskviz(*asked)) == []
    assert found(maskviz(*asked, "--no-mask")) == ["P1"]


def test_a_line_may_hold_a_whole_batch(maskviz: Maskviz, tmp_path: Path) -> None:
    both = {"input_ids": [[271, 623, 456], [271, 0, 0]], "attention_mask": [[1, 1, 1], [1, 0, 0]]}
    assert found(maskviz("check", "-m", "demo:gpt", "--file", batch(tmp_path, both), "--format", "json")) == ["P3"]


def test_a_mask_of_another_length_is_an_error_and_the_rest_is_run_without_it(maskviz: Maskviz, tmp_path: Path) -> None:
    left = {"input_ids": [0, 0, 271, 623], "attention_mask": [0, 0, 1, 1]}
    file = batch(tmp_path, ROW | {"attention_mask": [1, 1]}, left)
    answer = maskviz("check", "-m", "demo:gpt", "--file", file, expect=5)
    assert "P7 error mask-length · text 1: 4 ids and a mask of 2" in answer.stdout
    assert "text 1 was run without its attention_mask, which does not fit" in answer.stdout
    assert "P4 error left-pad-no-position-ids · text 2" in answer.stdout


def test_a_batch_that_cannot_be_run_is_still_looked_at(maskviz: Maskviz, tmp_path: Path) -> None:
    file = batch(tmp_path, {"input_ids": [271, 99_999], "attention_mask": [0, 0]})
    answer = maskviz("check", "-m", "demo:gpt", "--file", file, expect=5)
    assert "P6 error all-padded-row" in answer.stdout
    assert "the rows were not run: id 99999 is not in the vocabulary" in answer.stdout
    assert "(the model was not run)" in " ".join(answer.stdout.split())


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("{", 3, "is no JSON"),
        ("[1, 2]", 2, "is no object"),
        ("{}", 2, "neither input_ids nor a text"),
        ({"input_ids": []}, 2, "no list of whole numbers"),
        ({"input_ids": [1.5]}, 2, "no list of whole numbers"),
        ({"input_ids": [2**40]}, 2, "beyond 2147483647"),
        ({"input_ids": [5], "attention_mask": [-1]}, 2, "attention_mask has a number below 0"),
        ({"input_ids": [5], "decoder_attention_mask": [2]}, 2, "numbers other than 0 and 1"),
        ({"input_ids": [[5], [6]], "attention_mask": [[1]]}, 2, "has not 2 rows"),
        ({"text": " "}, 2, "neither input_ids nor a text"),
        ("[" * 100_000, 3, "is no JSON"),
        ('{"input_ids": [1' + "0" * 5000 + "]}", 3, "is no JSON"),
        ({"input_ids": [5, 99_999]}, 2, "id 99999 is not in the vocabulary"),
    ],
)
def test_a_line_that_is_no_row_is_said_in_one_line(
    maskviz: Maskviz, tmp_path: Path, line: Any, code: int, said: str
) -> None:
    answer = maskviz("check", "-m", "demo:gpt", "--file", batch(tmp_path, line), expect=code)
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--select", "X9"), "there is no rule 'X9'"),
        (("--select", "P1", "--ignore", "P"), "no rule is left"),
        (("a text", "--head-mask", "0:1"), "--head-mask and --outputs go together"),
        (("a text", "--as", "sdpa"), "--as is of a mask file"),
        (("a text", "--no-mask", "--packed"), "given together"),
        ((), "there is no text"),
        (("a text", "-o", "findings.xml"), "cannot tell the format"),
    ],
)
def test_what_does_not_go_together_is_refused(maskviz: Maskviz, arguments: tuple[str, ...], said: str) -> None:
    answer = maskviz("check", *arguments, expect=2)
    assert said in answer.stderr


def test_findings_of_one_trap_stand_together(maskviz: Maskviz, tmp_path: Path) -> None:
    rows = [ROW | {"attention_mask": [1, 0, 1, 1]}] * 8
    answer = maskviz("check", "-m", "demo:gpt", "--file", batch(tmp_path, *rows), "--select", "P7")
    assert answer.stdout.count("P7 warning mask-length") == 1
    assert "text 6: 1 zero between ones" in answer.stdout and "text 7:" not in answer.stdout
    assert "and 2 more; --format json has them all" in answer.stdout


def test_every_rule_is_listed(maskviz: Maskviz) -> None:
    listed = maskviz("check", "--list").stdout
    assert all(f"\n{identity} " in listed for identity in TRAPS)
    assert "H4 is not checked" in listed


def test_an_ablation_behind_the_projection_is_found(maskviz: Maskviz, tmp_path: Path) -> None:
    from maskviz.load.models.model import load_config, load_model
    from maskviz.load.models.source import resolve

    source = resolve("demo:gpt")
    loaded = load_model(source, load_config(source))
    assert loaded.tokenizer is not None
    ids = torch.tensor([loaded.tokenizer("The cat sat on the mat")["input_ids"]])
    module: Any = loaded.model.get_submodule("transformer.h.1.attn.c_proj")
    width = module.weight.shape[0] // 4

    def cleared(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[..., 2 * width : 3 * width] = 0
        return output

    handle = module.register_forward_hook(cleared)
    with torch.no_grad():
        np.save(tmp_path / "wrong.npy", loaded.model(ids).logits.numpy())
        handle.remove()
        np.save(tmp_path / "plain.npy", loaded.model(ids).logits.numpy())
    asked = ("check", "-m", "demo:gpt", "The cat sat on the mat", "--head-mask", "1:2", "--format", "json", "--outputs")
    assert found(maskviz(*asked, str(tmp_path / "wrong.npy"), expect=5)) == ["H1"]
    plain = maskviz(*asked, str(tmp_path / "plain.npy"))
    assert json.loads(plain.stdout)["asked"][-1] == "the same heads silenced"
    assert "outputs with no head silenced" in json.loads(plain.stdout)["notes"][-1]


def test_without_weights_what_masks_say_is_still_checked(maskviz: Maskviz, tmp_path: Path) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 99, "hidden_size": 32}
    config |= {"intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config |= {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    asked = ("check", "-m", str(path), "--format", "json")
    assert found(maskviz(*asked, "one two three four five six", expect=5)) == ["L4"]
    assert found(maskviz(*asked, "one two three four")) == ["L13"]


def test_packed_rows_of_a_file_are_run_without_a_cache_where_that_is_asked(maskviz: Maskviz, tmp_path: Path) -> None:
    path = tmp_path / "packed.jsonl"
    path.write_text('{"input_ids": [5, 6, 7, 8, 9, 10], "position_ids": [0, 1, 2, 0, 1, 2]}')
    asked = ("check", "-m", "demo:gpt", "--file", str(path), "--fail-on", "note")
    assert "K1 error" in maskviz(*asked, expect=5).stdout
    assert "no findings" in maskviz(*asked, "--no-cache").stdout
    assert "takes no use_cache" in maskviz("check", "--file", str(path), "--no-cache", expect=2).stderr


@pytest.mark.parametrize("option", [("--packed",), ("--pad-to", "9"), ("--position-ids", "cumsum"), ("--pair", "x")])
def test_rows_of_a_file_are_not_encoded_anew(maskviz: Maskviz, tmp_path: Path, option: tuple[str, ...]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input_ids": [5, 6, 7]}')
    answer = maskviz("check", "-m", "demo:gpt", "--file", str(path), *option, expect=2)
    assert f"rows of a file are taken as they are, and {option[0]} is given" in answer.stderr


def of_rows(maskviz: Maskviz, folder: Path, content: str, expect: int = 0) -> Response:
    path = folder / "rows.jsonl"
    path.write_text(content, encoding="utf-8")
    return maskviz(
        "check", "-m", "demo:gpt", "--file", str(path), "--for", "generate", "--format", "json", expect=expect
    )


@pytest.mark.parametrize("labels", ["1", "0.5", "[0.5, 1]"])
def test_a_label_of_the_whole_text_is_none_of_its_tokens(maskviz: Maskviz, tmp_path: Path, labels: str) -> None:
    assert found(of_rows(maskviz, tmp_path, f'{{"input_ids": [5, 6, 7], "labels": {labels}}}')) == []


@pytest.mark.parametrize("inside", ["\u2028", "\x85"])
def test_a_line_ends_where_json_lines_end(maskviz: Maskviz, tmp_path: Path, inside: str) -> None:
    line = f'{{"text": "a{inside}b"}}'
    assert found(of_rows(maskviz, tmp_path, f"{line}\r\n{line}\n")) == []


def test_a_part_that_is_given_twice_is_refused(maskviz: Maskviz, tmp_path: Path) -> None:
    answer = of_rows(maskviz, tmp_path, '{"input_ids": [5], "attention_mask": [1], "attention_mask": [0]}', expect=2)
    assert "has 'attention_mask' twice" in answer.stderr


def test_padding_before_a_decoders_text_that_no_mask_hides_is_found(maskviz: Maskviz, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1], "decoder_input_ids": [0, 0, 0, 5, 6]}')
    answer = maskviz("check", "-m", "demo:t5", "--file", str(path), "--format", "json")
    (finding,) = json.loads(answer.stdout)["findings"]
    assert (finding["id"], finding["message"]) == ("L9", "tokens of the decoder may see its own padding")
    assert "of their attention there falls on it" in finding["measured"]


@pytest.mark.parametrize("more", [("-o", "rules.json"), ("--format", "json"), ("--format", "sarif")])
def test_the_list_of_rules_is_no_data(maskviz: Maskviz, more: tuple[str, ...], tmp_path: Path) -> None:
    asked = (more[0], str(tmp_path / more[1]) if more[0] == "-o" else more[1])
    maskviz("check", "--list", *asked, expect=2)
    assert not list(tmp_path.iterdir())


def test_an_unknown_type_is_refused_for_a_mask_file_too(maskviz: Maskviz, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.ones((1, 1, 4, 4), np.bool_))
    answer = maskviz("check", str(tmp_path / "mask.npy"), "--dtype", "float61", expect=2)
    assert "dtype 'float61' is not known" in answer.stderr


def test_what_is_too_large_to_be_tried_is_not_said_to_be(maskviz: Maskviz, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.tril(np.ones((1, 1, 8, 8), np.bool_)))
    asked = ("check", str(tmp_path / "mask.npy"), "--heads", "8")
    assert "own attention" in maskviz(*asked, "--batch", "2").stdout
    assert "own attention" not in maskviz(*asked, "--batch", "1000000").stdout
