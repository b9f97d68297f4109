"""The atlas that is checked in: every type is in it, and what it says is what transformers' configs and twins say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

import maskviz as package
from tests.conftest import Response
from tools.atlas.page import PAGE, atlas_page, data_in
from tools.atlas.pictures import SIDE, drawn, picture

TEXT = PAGE.read_text("utf-8")
DATA = data_in(TEXT)
TYPES: dict[str, dict[str, Any]] = {one["name"]: one for one in DATA["types"]}
LARGEST = 1_500_000
ROOT = Path(__file__).parents[2]


def kinds(name: str) -> dict[str, dict[str, Any]]:
    """The kinds of layers of a type, by their rule."""
    return {one["rule"]: one for one in TYPES[name]["kinds"]}


def cells(kind: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool [query, key] of a kind's picture, True = visible."""
    visible: np.ndarray[Any, np.dtype[np.bool_]] = drawn(DATA["pictures"][kind["picture"]]) == 0
    return visible


def numbers(layers: str) -> list[int]:
    """Layers written as ranges, one by one."""
    found: list[int] = []
    for part in layers.split(", "):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def twin(sees: Callable[[int, int], bool]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool [query, key], cell by cell."""
    return np.array([[sees(query, key) for key in range(SIDE)] for query in range(SIDE)])


def test_the_page_is_small_and_names_no_other_place() -> None:
    assert len(TEXT.encode()) < LARGEST
    around = TEXT.partition('id="data">')[0] + TEXT.partition('id="data">')[2].partition("</script>")[2]
    assert set(re.findall(r"\w+://[^\s\"'<)]*", around)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"/(home|root|tmp|usr|work)/|site-packages", TEXT)


def test_the_page_is_what_its_parts_make_of_its_data() -> None:
    assert atlas_page(DATA) == TEXT


def test_the_page_is_of_the_pinned_transformers() -> None:
    pinned = re.search(r"^transformers==(\S+)", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned is not None
    assert DATA["releases"]["transformers"] == pinned[1]


@pytest.mark.slow("imports every model of transformers")
@pytest.mark.skipif(transformers.__version__ != DATA["releases"]["transformers"], reason="types of another release")
def test_every_type_that_reads_token_ids_is_in_it() -> None:
    from tools.model_types import NEEDS_MORE, model_types

    assert sorted(TYPES) == sorted(model_types())
    for name in NEEDS_MORE.keys() & TYPES.keys():
        assert TYPES[name]["problem"] or TYPES[name]["left"]["problem"] == f"it runs only with {NEEDS_MORE[name]}"


def test_the_types_that_coverage_lists_without_a_mask_are_in_it() -> None:
    table = (ROOT / "samples" / "coverage.md").read_text("utf-8").split("## Layers without an attention matrix")[1]
    listed = re.findall(r"^\| `(\w+)` \| (.+?) \|$", table.split("\n## ")[0], re.MULTILINE)
    assert listed
    assert {name for name, _ in listed} <= TYPES.keys()
    assert "state space" in {one["is"] for one in TYPES["mamba"]["silent"]}


def test_what_is_not_known_is_said_with_its_reason() -> None:
    for name, one in TYPES.items():
        assert one["kinds"] or one["silent"] or one["problem"], name
        for trial in ("left", "right", "packed", "flash"):
            assert one[trial].get("verdict") or one[trial]["problem"], f"{name}: {trial}"


def test_no_reason_is_a_mistake_of_our_own() -> None:
    """A reason names the file it was raised in, where it is not in our own words."""
    own = {path.name for folder in ("maskviz", "tools") for path in (ROOT / folder).rglob("*.py")} - {"__init__.py"}
    wrong = []
    for name, one in TYPES.items():
        said = [one["problem"], one["default"].get("problem", "")]
        said += [one[trial].get("problem", "") for trial in ("left", "right", "packed", "flash")]
        wrong += [f"{name}: {text}" for text in said for file in re.findall(r"\((\w+\.py):\d+\)", text) if file in own]
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "config"),
    [("gemma2", "Gemma2Config"), ("gemma3_text", "Gemma3TextConfig"), ("gpt_oss", "GptOssConfig")],
)
def test_alternating_layers_are_those_of_the_config(name: str, config: str) -> None:
    default = getattr(transformers, config)()
    found = kinds(name)
    assert found.keys() == {"causal", f"causal ∧ window({default.sliding_window})"}
    for rule, kind in found.items():
        wanted = "full_attention" if rule == "causal" else "sliding_attention"
        assert numbers(kind["layers"]) == [at for at, one in enumerate(default.layer_types) if one == wanted]


def test_windows_and_chunks_are_the_configs_defaults() -> None:
    window = transformers.MistralConfig().sliding_window
    assert window == 4096
    assert [one["rule"] for one in TYPES["mistral"]["kinds"]] == [f"causal ∧ window({window})"]
    assert TYPES["mistral"]["kinds"][0]["window"] == f"{window:,}"
    chunk = transformers.Llama4TextConfig().attention_chunk_size
    assert f"causal ∧ chunk({chunk})" in kinds("llama4_text")


def test_facts_are_the_configs() -> None:
    config = transformers.MistralConfig()
    facts = TYPES["mistral"]["default"]
    assert facts["layers"] == [config.num_hidden_layers]
    assert facts["heads"] == [config.num_attention_heads]
    assert facts["keyHeads"] == [config.num_key_value_heads]


@pytest.mark.parametrize(
    ("name", "rule", "sees"),
    [
        ("gpt2", "causal", lambda query, key: key <= query),
        ("bert", "bidirectional", lambda query, key: True),
        ("mistral", "causal ∧ window(4096)", lambda query, key: query - 4 < key <= query),
        ("gemma2", "causal", lambda query, key: key <= query),
        ("llama4_text", "causal ∧ chunk(8192)", lambda query, key: key <= query and key // 4 == query // 4),
        ("longformer", "window(±256)", lambda query, key: abs(query - key) <= 2),
    ],
)
def test_pictures_are_the_masks_that_a_loop_makes(name: str, rule: str, sees: Callable[[int, int], bool]) -> None:
    """The numbers of tiny models are 4 and 2 where the default's do not fit into a picture."""
    np.testing.assert_array_equal(cells(kinds(name)[rule]), twin(sees))


def test_an_encoder_decoder_has_three_masks() -> None:
    found = {one["stack"]: one for one in TYPES["t5"]["kinds"]}
    assert [found[stack]["rule"] for stack in ("encoder", "decoder", "cross")] == [
        "bidirectional",
        "causal",
        "bidirectional",
    ]
    assert TYPES["t5"]["look"] == "Encoder, causal decoder, cross attention"


def test_a_picture_is_read_back_as_it_was() -> None:
    reasons = np.random.default_rng(0).choice(np.array([0, 1, 2, 4, 8, 16, 32, 64, 128], np.uint8), (SIDE, SIDE))
    np.testing.assert_array_equal(drawn(picture(reasons)), reasons)


def test_masks_that_look_the_same_do_so_up_to_where_a_window_begins() -> None:
    sets = DATA["sets"]
    llama, mistral = (TYPES[name]["alike"] for name in ("llama", "mistral"))
    assert {"gpt2", "llama"} <= set(sets[llama]["types"])
    assert dict(map(tuple, sets[llama]["others"]))[mistral] == 4096  # token 4097 is the first that a key is too far for
    bert = TYPES["bert"]["alike"]
    assert bert not in {other for other, _ in sets[llama]["others"]}


def test_what_is_known_of_padding_and_packing_is_found() -> None:
    """GPT-2's learned positions, Mamba's rows, BERT's pairs: known without any run."""
    assert TYPES["gpt2"]["left"]["verdict"] == "positions"
    assert TYPES["llama"]["left"]["verdict"] == "same"  # rotary positions are relative
    assert TYPES["bert"]["packed"]["verdict"] == "seen"
    assert TYPES["jamba"]["packed"]["verdict"] == "moved"
    assert TYPES["t5"]["flash"]["verdict"] in ("refused", "meant", "other")
    assert any("sinks are dropped" in one["words"] for one in TYPES["gpt_oss"]["flash"]["groups"])


@pytest.mark.parametrize("name", ["gemma2", "blt_patcher"])
def test_the_command_of_a_type_says_its_rules_without_a_network(
    name: str, maskviz: Callable[..., Response], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TYPES[name]["default"]["file"]))
    said = maskviz("info", str(tmp_path / "config.json"), "--length", str(DATA["alikeAt"]))
    for rule in kinds(name):
        assert rule in said.stdout


@pytest.mark.slow("imports every model of transformers, and measures some")
@pytest.mark.skipif(transformers.__version__ != DATA["releases"]["transformers"], reason="types of another release")
@pytest.mark.parametrize("name", ["bert", "gemma2", "jamba", "t5"])
def test_a_type_measured_anew_is_as_the_page_has_it(name: str) -> None:
    from tools.atlas.data import atlas_of
    from tools.atlas.measure import measured

    anew = json.loads(json.dumps(atlas_of([measured(name)])))
    assert comparable(anew["types"][0], anew) == comparable(TYPES[name], DATA)


def comparable(entry: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """An entry with its pictures in place of their numbers, and without what rounding moves."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        if not isinstance(value, dict):
            return value
        kept = {key: plain(one) for key, one in value.items() if key not in ("moved", "counted", "alike")}
        return kept | ({"picture": data["pictures"][value["picture"]]} if "picture" in value else {})

    return dict(plain(entry))


def test_the_page_says_which_maskviz_made_it() -> None:
    assert DATA["releases"]["maskviz"] == package.__version__
