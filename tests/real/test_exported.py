"""Real models without some of their heads: MiniLM (code in the folder), SmolLM2 (its own class) and the demos."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import transformers

from maskviz.ablate.export import export
from maskviz.core.run.heads import parse_head_mask
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.tracing.run import head_shapes, run

pytestmark = pytest.mark.slow("runs models of real size")

TEXTS = ("Attention is all you need.", "The animal didn't cross the street because it was too tired.")
OTHERS = ("Paris is the capital of France, and Rome that of Italy.", "Once upon a time there was a small model.")


def loaded_from(name: str) -> Loaded:
    source = resolve(name)
    return load_model(source, load_config(source), device="cpu")


def difference(one: torch.nn.Module, other: torch.nn.Module, encoded: Encoded) -> float:
    """Largest difference of all outputs on real tokens."""
    keep = torch.as_tensor(encoded.batch.keep.copy())
    with torch.no_grad():
        first, second = one(**encoded.inputs)[0], other(**encoded.inputs)[0]
    return float((first - second)[keep].abs().max() / max(1.0, float(second[keep].abs().max())))


def without_columns(
    model: torch.nn.Module, weight: str, heads: Mapping[int, tuple[int, ...]], size: int
) -> torch.nn.Module:
    """A copy of a model with the columns of some heads set to zero."""
    twin = copy.deepcopy(model)
    for layer, silenced in heads.items():
        for head in silenced:
            twin.get_parameter(weight.format(layer)).data[:, head * size : (head + 1) * size] = 0
    return twin


def test_minilm_without_some_heads_is_the_masked_minilm(minilm: Path, tmp_path: Path) -> None:
    loaded = loaded_from(str(minilm))
    encoded = encode(loaded, Request(TEXTS))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    mask = parse_head_mask("0:0-3; 1:*; 3:5; 5:1,11", head_shapes(trace))
    report = export(loaded, encoded.inputs, trace, mask, tmp_path / "new", seconds=0)
    assert [len(one.query) for one in report.kept] == [8, 1, 12, 11, 12, 10]
    assert report.saving.before.parameters - report.saving.after.parameters == (4 + 11 + 1 + 2) * (
        4 * 384 * 32 + 3 * 32
    )
    model = transformers.AutoModel.from_pretrained(tmp_path / "new", trust_remote_code=True, dtype=torch.float32)
    silenced = {0: (0, 1, 2, 3), 1: tuple(range(12)), 3: (5,), 5: (1, 11)}
    twin = without_columns(loaded.model, "encoder.layer.{}.attention.output.dense.weight", silenced, 32)
    for texts in (TEXTS, OTHERS):
        assert difference(model, twin, encode(loaded, Request(texts))) < 1e-5


def test_smollm2_without_whole_groups_is_a_plain_llama(smollm2: Path, tmp_path: Path) -> None:
    """Nine heads on a width of 576: two of three groups go from every layer, or six heads of nine stay."""
    loaded = loaded_from(str(smollm2))
    encoded = encode(loaded, Request(TEXTS))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    mask = parse_head_mask("0-14:0-2; 15-29:6-8; 3:3-5", head_shapes(trace))
    report = export(loaded, encoded.inputs, trace, mask, tmp_path / "new", seconds=0)
    assert not report.needs_trust
    assert {(len(one.query), len(one.key)) for one in report.kept} == {(6, 2)}
    assert (report.silenced, report.removed, report.zeroed) == (93, 90, 3)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "new", dtype=torch.float32)
    assert type(model).__module__ == "transformers.models.llama.modeling_llama"
    silenced = {layer: (0, 1, 2) if layer < 15 else (6, 7, 8) for layer in range(30)} | {3: (0, 1, 2, 3, 4, 5)}
    twin = without_columns(loaded.model, "model.layers.{}.self_attn.o_proj.weight", silenced, 64)
    for texts in (TEXTS, OTHERS):
        assert difference(model, twin, encode(loaded, Request(texts))) < 1e-5


@pytest.mark.parametrize("name", ["bert", "gpt", "t5"])
def test_the_demo_models_can_be_exported(name: str, tmp_path: Path) -> None:
    loaded = loaded_from(f"demo:{name}")
    targets = ("a text", "another one") if name == "t5" else ()
    encoded = encode(loaded, Request(("The cat sat on the mat.", "A dog barked."), targets=targets))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    masks = {"t5": "encoder *:1; decoder *:2; cross *:0"}
    report = export(
        loaded, encoded.inputs, trace, parse_head_mask(masks.get(name, "*:1"), head_shapes(trace)), tmp_path / "new",
        seconds=0,
    )  # fmt: skip
    assert report.removed == len(trace.calls)
    assert report.needs_trust == (name != "t5")
    assert (tmp_path / "new" / "tokenizer.json").exists()
