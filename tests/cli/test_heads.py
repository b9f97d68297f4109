"""`maskviz heads` from the command line: what the demo models were trained to do is found, and nothing crashes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskviz.load.models.model import load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.probe import probe_of
from tests.architectures import tiny
from tests.conftest import Response
from tests.stable import stable

Run = Callable[..., Response]
Golden = Callable[[str, str], None]

AGAIN = "stone river lamp apple dog green seven stone river lamp apple dog green"
TIRED = "The animal didn't cross the street because it was too tired"


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def heads_of(reading: dict[str, Any], role: str) -> set[str]:
    return {
        f"{layer['layer']}.{head}"
        for layer in reading["layers"]
        for head, roles in enumerate(layer["roles"])
        for one in roles
        if one["role"] == role
    }


def test_the_page_is_the_golden_one(maskviz: Run, golden: Golden) -> None:
    golden("cli_heads", stable(maskviz("heads", "-m", "demo:gpt", AGAIN, "--by", "induction", "--top", "5").stdout))


def test_an_encoder_decoders_page_is_the_golden_one(maskviz: Run, golden: Golden) -> None:
    said = maskviz("heads", "-m", "demo:t5", "Anna has a red ball.", "--target", "ball. red a has Anna", "--top", "3")
    golden("cli_heads_t5", stable(said.stdout))


def test_rollout_and_means_of_words_are_the_golden_ones(maskviz: Run, golden: Golden) -> None:
    golden("cli_heads_rollout", stable(maskviz("heads", TIRED, "--rollout", "--words").stdout))
    golden("cli_heads_mean", stable(maskviz("heads", TIRED, "A cat.", "--mean", "--words", "--no-sink").stdout))


def test_the_heads_demo_gpt_was_trained_for_are_found_by_the_probe(maskviz: Run, tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    maskviz("heads", "-m", "demo:gpt", "--probe", "-o", str(path))
    found = read(path)
    assert heads_of(found, "previous token") == {"0.3"}
    assert heads_of(found, "induction") == {"1.0", "1.1", "1.2", "1.3"}
    assert all(set(one["statistics"]["induction"]["queries"]) == {200} for one in found["layers"])


def test_they_are_found_in_a_text_that_repeats_too(maskviz: Run, tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    maskviz("heads", "-m", "demo:gpt", AGAIN, "-o", str(path))
    found = read(path)
    assert heads_of(found, "previous token") == {"0.3"}
    assert heads_of(found, "induction") == {"1.0", "1.1", "1.2", "1.3"}


def test_the_probes_scores_are_those_of_transformers_own_attention(maskviz: Run, tmp_path: Path) -> None:
    path, length, rows = tmp_path / "heads.json", 32, 3
    maskviz("heads", "-m", "demo:gpt", "--probe", "--probe-length", "32", "--probe-seeds", "3", "-o", str(path))
    source = resolve("demo:gpt")
    loaded = load_model(source, load_config(source))
    loaded.model.set_attn_implementation("eager")
    with torch.no_grad():
        ids = torch.as_tensor(np.array(probe_of(loaded, length, rows, 0).ids))
        maps = loaded.model(ids, output_attentions=True).attentions
    again = range(length, 2 * length)
    for layer, pattern in zip(read(path)["layers"], maps, strict=True):
        for name, behind in (("induction", length - 1), ("previous", 1), ("duplicate", length)):
            for head, mean in enumerate(layer["statistics"][name]["mean"]):
                each = [float(pattern[row, head, query, query - behind]) for row in range(rows) for query in again]
                assert mean == pytest.approx(sum(each) / len(each), abs=1e-5)


def test_a_text_counts_once_alone_and_among_others(maskviz: Run, tmp_path: Path) -> None:
    texts = [TIRED, "A cat sat.", "It rains today"]
    each = []
    for number, text in enumerate(texts):
        maskviz("heads", text, "-o", str(tmp_path / f"{number}.json"))
        each.append(read(tmp_path / f"{number}.json"))
    maskviz("heads", *texts, "-o", str(tmp_path / "all.json"))
    for layer, together in enumerate(read(tmp_path / "all.json")["layers"]):
        alone = [one["layers"][layer]["statistics"]["entropy"] for one in each]
        queries = np.sum([one["queries"] for one in alone], axis=0)
        sums = np.sum([np.multiply(one["mean"], one["queries"]) for one in alone], axis=0)
        assert together["statistics"]["entropy"]["queries"] == queries.tolist()
        np.testing.assert_allclose(together["statistics"]["entropy"]["mean"], sums / queries, atol=1e-5)


@pytest.mark.parametrize("statistic", ["sink", "special", "next", "distance", "positional", "spread", "itself"])
def test_any_statistic_makes_the_map_and_the_order(maskviz: Run, statistic: str) -> None:
    said = maskviz("heads", TIRED, "--by", statistic, "--top", "3", "--layer", "1-2", "--head", "0,3").stdout
    assert f"highest {statistic}" in said
    table = said.split(f"highest {statistic}")[1].split("roles\n")[0]
    ranked = re.findall(r"^(\d\.\d) +([\d.]+)", table, re.MULTILINE)
    assert len(ranked) == 3
    assert {name for name, _ in ranked} <= {"1.0", "1.3", "2.0", "2.3"}
    values = [float(value) for _, value in ranked]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("a",),
        ("-m", "demo:gpt", "a"),
        ("-m", "demo:gpt", "a", "--no-sink"),
        ("-m", "demo:gpt", TIRED, "--past", "3", "--cache", "static"),
        ("-m", "demo:gpt", TIRED, "A cat", "--past", "3", "--mean"),
        ("-m", "demo:t5", "a", "b c", "--no-sink", "--words"),
        ("-m", "demo:t5", "a b", "--mean", "--stack", "cross", "--words"),
        ("-m", "demo:gpt", "a b", "c d e", "--packed"),
        ("--pair", "b", "a", "--words"),
        ("--ids", "5 6 7", "--no-sink", "--rollout"),
        ("-m", "demo:t5", "--probe", "--probe-length", "6"),
        ("--random-weights", "0", "a cat"),
    ],
)
def test_it_runs_on(maskviz: Run, arguments: tuple[str, ...]) -> None:
    response = maskviz("heads", *arguments, expect=(0, 2))
    assert response.stdout or "no head has a number" in response.stderr


@pytest.mark.parametrize("name", ["gpt_oss", "gemma2", "modernbert", "bart", "bloom"])
def test_other_architectures_are_read(maskviz: Run, tmp_path: Path, name: str) -> None:
    tiny(name).save_pretrained(tmp_path / name)
    ids = ("--ids", "5 17 3 9 20 5 17 3 9", "--ids", "8 2 11 30")
    assert "highest " in maskviz("heads", "-m", str(tmp_path / name), *ids, "--no-sink").stdout
    assert "attention rollout" in maskviz("heads", "-m", str(tmp_path / name), *ids, "--rollout").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--probe", "a text"), "--probe and TEXT are given together"),
        (("a", "--mean", "--rollout"), "--mean and --rollout are given together"),
        (("a", "--rollout", "--by", "sink"), "--rollout and --by are given together"),
        (("--ids", "5 6", "--words"), "--words and --ids are given together"),
        (("-m", "demo:gpt", "a cat", "--by", "next"), "no query has a number for --by next"),
        (("-m", "demo:t5", "a", "--rollout", "--stack", "cross"), "no meaning for cross attention"),
        (("a", "--layer", "9"), "layer 9 does not exist"),
        (("a", "--head", "9"), "head 9 does not exist"),
        (("a", "--rollout", "-o", "x.json"), "cannot tell the format"),
        ((), "there is no text"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(maskviz: Run, arguments: tuple[str, ...], said: str) -> None:
    response = maskviz("heads", *arguments, expect=2)
    assert said in response.stderr
    assert "hint: " in response.stderr


def test_without_weights_there_is_nothing_to_read(maskviz: Run, tmp_path: Path) -> None:
    tiny("bert").config.save_pretrained(tmp_path)
    response = maskviz("heads", "-m", str(tmp_path / "config.json"), "a text", expect=2)
    assert "heads are read from numbers, and there are none" in response.stderr


def test_pictures_are_written(maskviz: Run, tmp_path: Path) -> None:
    for name in ("heads.png", "heads.svg", "heads.txt"):
        maskviz("heads", TIRED, "-o", str(tmp_path / name))
        assert (tmp_path / name).stat().st_size > 1000
