"""Right batches with masks of their own have no finding, and each mutation of one is found under its own name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.architectures import tiny
from tests.conftest import Response

Maskviz = Callable[..., Response]
Arrays = dict[str, Any]

IDS = np.array([[5, 17, 3, 42, 8, 11, 0, 0], [9, 23, 31, 7, 12, 4, 6, 50]])
KEEP = (IDS != 0).astype(np.int64)
CAUSAL = np.tril(np.ones((8, 8), np.bool_))
OWN = CAUSAL[None, None] & (KEEP[:, None, None, :] == 1)
# Padding queries see themselves, so that no row is blind.
RIGHT_MASK = OWN | np.eye(8, dtype=np.bool_)
PACKED = np.array([[0, 1, 2, 0, 1, 2, 3, 4]])
DOCUMENTS = np.array([0, 0, 0, 1, 1, 1, 1, 1])
TREE = np.array(
    [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 1, 0, 0],
        [1, 1, 0, 0, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 1, 1, 1],
    ],
    np.bool_,
)
OF_THE_TREE = np.array([[0, 1, 2, 3, 4, 2, 3, 4]])


def trained() -> Arrays:
    """Two rows as a collator leaves them for training."""
    return {"input_ids": IDS.copy(), "attention_mask": KEEP.copy(), "labels": np.where(KEEP == 1, IDS, -100)}


def own_mask() -> Arrays:
    """The same with the whole mask made by hand."""
    return {"input_ids": IDS.copy(), "attention_mask": RIGHT_MASK.copy()}


def packed() -> Arrays:
    """Two texts in a row, told apart by their positions alone."""
    return {"input_ids": IDS[1:].copy(), "position_ids": PACKED.copy(), "use_cache": False}


def packed_by_mask() -> Arrays:
    """The same with a mask of blocks."""
    blocks = CAUSAL & (DOCUMENTS[:, None] == DOCUMENTS[None, :])
    return {"input_ids": IDS[1:].copy(), "position_ids": PACKED.copy(), "attention_mask": blocks[None, None]}


def tree() -> Arrays:
    """Two branches behind a stem."""
    return {"input_ids": IDS[1:].copy(), "position_ids": OF_THE_TREE.copy(), "attention_mask": TREE[None, None].copy()}


def left_padded() -> Arrays:
    """Two rows to generate from."""
    ids = np.concatenate([IDS[:, 6:], IDS[:, :6]], axis=1)
    ids[1] = IDS[1]
    keep = (ids != 0).astype(np.int64)
    return {"input_ids": ids, "attention_mask": keep, "position_ids": np.maximum(keep.cumsum(axis=1) - 1, 0)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of tiny models by type: one with positions by rotation, one with learned positions."""
    made = {}
    for name in ("llama", "gpt2", "mistral"):
        path = tmp_path_factory.mktemp(name)
        tiny(name).save_pretrained(path)
        made[name] = str(path)
    return made


@pytest.fixture
def check(maskviz: Maskviz, tmp_path: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """Findings by id of a check of a forward's arguments."""

    def asked(model: str, arguments: Arrays, *more: str) -> dict[str, dict[str, Any]]:
        path = tmp_path / "inputs.pt"
        no_cache = ("--no-cache",) if arguments.pop("use_cache", True) is False else ()
        torch.save({name: torch.as_tensor(np.array(one)) for name, one in arguments.items()}, path)
        options = ("--inputs", str(path), "--for", "forward", *no_cache, *more)
        answer = maskviz("check", "-m", model, *options, "--format", "json", "--fail-on", "never")
        return {one["id"]: one for one in json.loads(answer.stdout)["findings"]}

    return asked


Check = Callable[..., dict[str, dict[str, Any]]]


@pytest.mark.parametrize("made", [trained, own_mask, packed, packed_by_mask, tree, left_padded])
@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_a_right_batch_has_no_finding(
    check: Check, folders: dict[str, str], made: Callable[[], Arrays], model: str
) -> None:
    assert check(folders[model], made()) == {}


@pytest.mark.parametrize("rule", ["block(4)", "prefix(3)", "causal & window(3)"])
def test_a_mask_that_is_said_to_be_meant_has_no_finding(check: Check, folders: dict[str, str], rule: str) -> None:
    query, key = np.arange(8)[:, None], np.arange(8)[None, :]
    cells = {
        "block(4)": key // 4 <= query // 4,
        "prefix(3)": (key < 3) | (key <= query),
        "causal & window(3)": (key <= query) & (query - key < 3),
    }[rule]
    arguments = {"input_ids": IDS[1:].copy(), "attention_mask": cells[None, None]}
    assert check(folders["llama"], dict(arguments), "--meant", rule) == {}
    if rule != "causal & window(3)":
        assert set(check(folders["llama"], dict(arguments))) == {"L1"}


def changed(arguments: Arrays, **parts: Any) -> Arrays:
    """Arguments with some of them replaced."""
    return arguments | parts


MUTATIONS: dict[str, tuple[Arrays, str, str]] = {
    "the mask of a row turned round": (
        changed(trained(), attention_mask=1 - KEEP),
        "T1",
        "keeps 2 padding tokens and hides its text",
    ),
    "labels shifted by hand": (
        changed(trained(), labels=np.concatenate([trained()["labels"][:, 1:], np.full((2, 1), -100)], axis=1)),
        "B8",
        "labels are the tokens that come next",
    ),
    "labels on padding": (changed(trained(), labels=IDS), "P5", "2 padding tokens with a label"),
    "a label outside": (
        changed(trained(), labels=np.where(KEEP == 1, IDS + 10_000, -100)),
        "B2",
        "there are 99 classes",
    ),
    "a triangle turned by half a circle": (
        changed(own_mask(), attention_mask=np.broadcast_to(CAUSAL, (2, 1, 8, 8))[:, :, ::-1, ::-1]),
        "T13",
        "turned round it is a causal mask",
    ),
    "a mask that sees one ahead": (
        changed(own_mask(), attention_mask=np.tril(np.ones((2, 1, 8, 8), np.bool_), 1)),
        "L1",
        "the mask that was given shows later tokens",
    ),
    "a mask that does not see itself": (
        changed(own_mask(), attention_mask=np.tril(np.ones((2, 1, 8, 8), np.bool_), -1)),
        "N1",
        "attend to nothing, the first is row 1, query 0",
    ),
    "padding hidden along the queries": (
        changed(own_mask(), attention_mask=np.broadcast_to(KEEP[:, None, :, None] == 1, (2, 1, 8, 8))),
        "P10",
        "shows real tokens the padding of the batch",
    ),
    "floats of one and zero": (
        changed(own_mask(), attention_mask=RIGHT_MASK.astype(np.float32)),
        "T2",
        "are all 0 or 1",
    ),
    "packed texts with a mask of ones": (
        changed(packed(), attention_mask=np.ones((1, 8), np.int64)),
        "K1",
        "have their query in one text and their key in another",
    ),
    "packed blocks, positions that run on": (
        {name: one for name, one in packed_by_mask().items() if name != "position_ids"},
        "K2",
        "keeps 2 texts apart, and their positions run on",
    ),
    "a tree whose branches run on": (
        {name: one for name, one in tree().items() if name != "position_ids"},
        "P12",
        "token 5 sees 3 keys with its own, and has position 5",
    ),
    "a branch that is one position off": (
        changed(tree(), position_ids=np.array([[0, 1, 2, 3, 4, 3, 4, 5]])),
        "P12",
        "token 5 sees 3 keys with its own, and has position 3",
    ),
    "positions that count padding": (
        changed(left_padded(), position_ids=np.broadcast_to(np.arange(8), (2, 8)).copy()),
        "P4",
        "its position_ids count the padding",
    ),
}


@pytest.mark.parametrize("name", list(MUTATIONS))
def test_a_mutation_is_found_under_its_own_name(check: Check, folders: dict[str, str], name: str) -> None:
    arguments, expected, words = MUTATIONS[name]
    model = "gpt2" if name == "positions that count padding" else "llama"
    findings = check(folders[model], dict(arguments))
    assert expected in findings, sorted(findings)
    assert words in findings[expected]["message"]
