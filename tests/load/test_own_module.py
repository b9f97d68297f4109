"""What is asked for as a module: unwrapped, refused, found by its name; and the inputs it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from maskviz.core.errors import CannotTraceError, MaskvizError, NotFoundError, UsageError
from maskviz.load.inputs.files import read_labels
from maskviz.load.inputs.module_inputs import module_inputs
from maskviz.load.models.own_module import card_of_module, module_named, own_module, padding_ids, vocabularies_of


class Taking(nn.Module):
    """Takes two inputs, one of them optional."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4, padding_idx=2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        del mask
        return x


class TakingAMapping(nn.Module):
    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return features


def test_what_wraps_a_module_is_taken_off() -> None:
    inner = Taking()
    compiled: Any = torch.compile(inner)
    for wrapped in (inner, nn.DataParallel(inner), compiled, nn.DataParallel(compiled)):
        assert own_module(wrapped) is inner


def test_a_model_of_transformers_is_none() -> None:
    model = BertModel(BertConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2, intermediate_size=8))
    for one in (model, nn.DataParallel(model), "bert", None, object()):
        assert own_module(one) is None


def test_a_card_says_what_is_known_before_anything_ran() -> None:
    card = card_of_module(Taking())
    assert (card.name, card.architecture, card.parameters, card.dtype, card.device) == (
        *("Taking", "Taking", 28, "float32"),
        "cpu",
    )
    assert vocabularies_of(Taking()) == {7} and padding_ids(Taking()) == {2}


def test_inputs_are_held_against_the_signature() -> None:
    x = torch.zeros(2, 3, 4)
    assert module_inputs(Taking(), {"x": x}).named["x"] is x
    assert module_inputs(Taking(), (x, None)).positional == (x, None)
    assert module_inputs(Taking(), x).positional == (x,)
    both = {"ids": x, "mask": x}
    (mapping,) = module_inputs(TakingAMapping(), both).positional  # one argument that is all of them
    assert mapping.keys() == both.keys()
    with pytest.raises(UsageError, match="takes no 'y'"):
        module_inputs(Taking(), {"y": x})
    with pytest.raises(UsageError, match="too many positional arguments"):
        module_inputs(Taking(), (x, x, x))


def test_numbers_become_tensors_of_the_modules_type_and_flags_stay() -> None:
    given = module_inputs(Taking().half(), {"x": np.zeros((2, 3)), "mask": [[1, 0], [1, 1]]})
    assert given.named["x"].dtype is torch.float16
    assert given.named["mask"].dtype is torch.int64
    assert given.leading == 2
    assert [one.tolist() for one in given.ids] == [[[1, 0], [1, 1]], [[1, 1], [0, 1]]]
    assert module_inputs(Taking(), {"x": torch.zeros(1), "mask": None}).named["mask"] is None


def test_inputs_of_a_file_are_brought_to_the_module() -> None:
    x = torch.zeros(1, 2, dtype=torch.float64)
    assert module_inputs(Taking(), {"x": x}, moved=True).named["x"].dtype is torch.float32
    assert module_inputs(Taking(), {"x": x}).named["x"] is x


def test_names_are_found_in_files_and_packages(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\n\n\nclass Outer:\n    inner = torch.nn.Linear(1, 1)\n\n\n"
        "def build():\n    return torch.nn.Linear(2, 2)\n\n\ndef wrong():\n    raise TypeError('inside')\n",
        encoding="utf-8",
    )
    assert module_named(f"{path}:build").in_features == 2
    assert module_named(f"{path}:Outer.inner").in_features == 1
    assert isinstance(module_named("torch.nn:Identity"), nn.Identity)
    with pytest.raises(CannotTraceError, match="raises TypeError: inside"):
        module_named(f"{path}:wrong")
    with pytest.raises(NotFoundError, match="there is no 'nothing'"):
        module_named(f"{path}:nothing")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", "{}", "holds no rows of strings"),
        ("a.json", "[]", "holds no rows of strings"),
        ("a.json", "[[1, 2]]", "holds no rows of strings"),
        ("a.json", "[", "is no JSON"),
        ("none", None, "cannot be read"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(MaskvizError, match=says):
        read_labels(path)


def test_labels_are_rows_of_json_or_lines(tmp_path: Path) -> None:
    rows, line, lines = tmp_path / "rows.json", tmp_path / "row.json", tmp_path / "words.txt"
    rows.write_text('[["a", "b"], ["c", "d"]]', encoding="utf-8")
    line.write_text('["a", "b"]', encoding="utf-8")
    lines.write_text("a\nb\n", encoding="utf-8")
    assert read_labels(rows) == (("a", "b"), ("c", "d"))
    assert read_labels(line) == read_labels(lines) == (("a", "b"),)
