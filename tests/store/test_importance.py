"""Importances, pruning curves and head masks as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskviz.api.runs.head_masks import parse_or_read_head_mask
from maskviz.core.results.importance import Effects
from maskviz.core.run.heads import HeadMask, parse_head_mask
from maskviz.core.words import Measure
from maskviz.store.importance import head_mask_json, importance_json, pruning_json
from maskviz.store.readable import readable_json
from tests.pages_of_heads import CARD, KEY_SITES, SHAPES, TEXTS, importance, pruning


def parsed(content: bytes) -> Any:
    """What strict JSON holds: NaN and Infinity are refused."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(content, parse_constant=refuse)


def test_an_importance_keeps_every_number() -> None:
    value = importance(KEY_SITES, gradients=np.array([[0.1, 1 / 3, 0.3, 1e-9]] * 3))
    held = parsed(importance_json(value, CARD, TEXTS, "maskviz importance"))
    assert held["kind"] == "importance"
    assert (held["model"]["name"], held["texts"], held["command"]) == ("made-up", list(TEXTS), "maskviz importance")
    assert held["sites"][3] == {"name": "kv:1.1", "stack": "decoder", "layer": 1, "heads": [2, 3], "key_head": 1}
    assert held["gradients"][0][1] == 1 / 3
    for measure, changes in value.effects.changes.items():
        assert held["changes"][measure.value] == changes.tolist()
    assert held["plain"]["loss"] == [2.0, 3.0, 4.0]
    assert (held["method"], held["measure"], held["ablation"], held["base"]) == ("exact", "loss", "zero", None)


def test_what_is_no_number_is_null() -> None:
    effects = Effects({Measure.LOSS: np.array([[np.nan, np.inf, 1.0, -np.inf]])}, {Measure.LOSS: np.array([np.nan])})
    held = parsed(importance_json(replace(importance(KEY_SITES), effects=effects), CARD, TEXTS, ""))
    assert held["changes"]["loss"] == [[None, None, 1.0, None]]
    assert held["plain"]["loss"] == [None]


def test_a_pruning_keeps_every_number_and_names_its_masks_in_their_grammar() -> None:
    value = pruning()
    held = parsed(pruning_json(value, CARD, TEXTS, "maskviz prune"))
    assert [(one["order"], one["seed"]) for one in held["lines"]] == [
        ("least important first", None),
        ("random", 0),
        ("random", 1),
        ("most important first", None),
    ]
    for one, line in zip(held["lines"], value.lines, strict=True):
        assert one["changes"]["kl"] == line.changes[Measure.KL].tolist()
        for text, mask in zip(one["masks"][1:], line.masks[1:], strict=True):
            assert np.array_equal(parse_head_mask(text, SHAPES).gates["decoder"], mask.gates["decoder"])
    assert held["removed"] == [0, 2, 4, 6, 8]
    assert held["chosen"]["mask"] == "0:*; 1:2"
    assert held["chosen"]["gates"]["decoder"][1] == [1.0, 1.0, 0.0, 1.0]
    assert held["chosen"]["changes"]["loss"] == [0.6, 0.5, 0.7]
    assert [site["name"] for site in held["chosen"]["removed"]] == ["0.0", "0.1", "0.2", "0.3", "1.2"]
    assert parsed(pruning_json(pruning(chosen=False), CARD, TEXTS, ""))["chosen"] is None


def test_rows_of_numbers_are_lines() -> None:
    lines = importance_json(importance(), CARD, TEXTS, "").decode().splitlines()
    assert '    {"name": "0.1", "stack": "decoder", "layer": 0, "heads": [1], "key_head": null},' in lines
    assert max(map(len, lines)) < 250


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('aé"\\\n'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('ab"'), inner),
    max_leaves=30,
)


@given(nested)
def test_readable_json_holds_what_json_would(value: Any) -> None:
    assert json.loads(readable_json(value)) == value


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (HeadMask({"decoder": np.array([[0.0, 0.1], [1.0, 1.0]])}), "[[0.0, 0.1], [1.0, 1.0]]\n"),
        (
            HeadMask({"encoder": np.array([[0.5, 1.0]]), "cross": np.array([[1.0, 0.0]])}),
            '{"encoder": [[0.5, 1.0]], "cross": [[1.0, 0.0]]}\n',
        ),
    ],
)
def test_a_head_mask_is_written_as_the_command_line_reads_it(mask: HeadMask, text: str, tmp_path: Path) -> None:
    content = head_mask_json(mask)
    assert content.decode() == text
    path = tmp_path / "mask.json"
    path.write_bytes(content)
    read = parse_or_read_head_mask(f"@{path}", {stack: (len(t), t.shape[1]) for stack, t in mask.gates.items()})
    assert read.gates.keys() == mask.gates.keys()
    assert all(np.array_equal(read.gates[stack], table) for stack, table in mask.gates.items())
