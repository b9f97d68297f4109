"""Values of a config that transformers does not know or cannot build are named, and never the weights' fault."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from maskviz import demo
from maskviz.core.errors import ExitCode, MaskvizError
from maskviz.load.models.model import build_model, load_config, load_model
from maskviz.load.models.source import resolve


def refused(folder: Path, *, weights: bool) -> MaskvizError:
    """What is said of a model's folder, with its weights or without."""
    source = resolve(str(folder))
    with pytest.raises(MaskvizError) as caught:
        config = load_config(source)
        load_model(source, config) if weights else build_model(source, config)
    return caught.value


def folder_of(name: str, folder: Path, **changes: object) -> Path:
    """A demo model with changes in its config."""
    shutil.copytree(demo.folder(name), folder, dirs_exist_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")
    return folder


UNKNOWN = [("gpt", "activation_function"), ("bert", "hidden_act"), ("t5", "dense_act_fn")]


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize(("name", "key"), UNKNOWN)
def test_a_word_that_transformers_does_not_know_is_named_with_its_key(
    name: str, key: str, weights: bool, tmp_path: Path
) -> None:
    error = refused(folder_of(name, tmp_path, **{key: "evil"}), weights=weights)
    assert error.exit_code is ExitCode.CANNOT_TRACE
    assert f"says {key} 'evil', which transformers" in error.message
    assert "damaged" not in f"{error.message} {error.hint}"


VALUES = [
    ("gpt", "n_positions", -5, "n_positions -5"),
    ("gpt", "n_head", 3, "n_head 3"),
    ("bert", "hidden_dropout_prob", 7, "hidden_dropout_prob 7"),
    ("gpt", "dtype", "evil", "evil"),
]


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize(("name", "key", "value", "said"), VALUES, ids=[one[1] for one in VALUES])
def test_a_value_nothing_can_be_built_from_is_named(
    name: str, key: str, value: object, said: str, weights: bool, tmp_path: Path
) -> None:
    error = refused(folder_of(name, tmp_path, **{key: value}), weights=weights)
    assert said in error.message
    assert "damaged" not in f"{error.message} {error.hint}"


def test_weights_that_are_damaged_are_still_said_to_be(tmp_path: Path) -> None:
    folder = folder_of("gpt", tmp_path)
    (folder / "model.safetensors").write_bytes(b"x" * 128)
    error = refused(folder, weights=True)
    assert error.exit_code is ExitCode.NOT_FOUND
    assert "the weights of" in error.message
    assert "config" not in error.message
