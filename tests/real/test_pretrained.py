"""The same promises on real pre-trained weights: MiniLM (BERT) and SmolLM2 (Llama)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from transformers import AutoModel, AutoModelForCausalLM

from maskviz.core.run.trace import Trace
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.tracing.run import run
from tests.traced import Traced, traced

pytestmark = pytest.mark.slow("runs models of real size")

# Against plain sdpa. The first releases of transformers 5 round once more on the way, on logits of up to 30.
LARGEST_DRIFT = 1e-4 if Version(transformers.__version__) >= Version("5.23") else 5e-4

TEXTS = (
    "Attention is all you need.",
    "The animal didn't cross the street because it was too tired.",
    "你好,世界! A longer text 👩‍👩‍👧 that mixes scripts, so that the three rows differ in length.",
)


def from_folder(folder: Path) -> Traced:
    source = resolve(str(folder))
    return traced(load_model(source, load_config(source), device="cpu"), Request(TEXTS))


@pytest.fixture(scope="module")
def bert(minilm: Path) -> Traced:
    return from_folder(minilm)


@pytest.fixture(scope="module")
def llama(smollm2: Path) -> Traced:
    return from_folder(smollm2)


def check_against(own: Any, encoded: Encoded, trace: Trace) -> None:
    """Compare every call with what transformers returns under output_attentions, on real query rows."""
    with torch.no_grad():
        maps = own(**encoded.inputs, output_attentions=True).attentions
    assert len(maps) == len(trace.calls)
    for call, one in zip(trace.calls, maps, strict=True):
        assert call.pattern is not None
        real = trace.real_queries(call)
        expected = one.numpy().transpose(0, 2, 1, 3)[real]
        np.testing.assert_allclose(call.pattern.transpose(0, 2, 1, 3)[real], expected, atol=1e-6, rtol=0)
        visible = np.broadcast_to(call.mask.visible, one.shape).transpose(0, 2, 1, 3)[real]
        assert np.array_equal(visible, expected > 0)
    assert trace.plain_attention == "sdpa"
    assert trace.drift is not None
    assert trace.drift < LARGEST_DRIFT


def test_minilm_is_traced_as_transformers_returns_it(bert: tuple[Loaded, Encoded, Trace], minilm: Path) -> None:
    own = AutoModel.from_pretrained(minilm, attn_implementation="eager", dtype=torch.float32)
    check_against(own, *bert[1:])
    assert {str(call.mask.rule) for call in bert[2].calls} == {"padding"}
    assert [(call.layer, call.heads) for call in bert[2].calls] == [(layer, 12) for layer in range(6)]


def test_smollm2_is_traced_as_transformers_returns_it(llama: tuple[Loaded, Encoded, Trace], smollm2: Path) -> None:
    own = AutoModelForCausalLM.from_pretrained(smollm2, attn_implementation="eager", dtype=torch.float32)
    check_against(own, *llama[1:])
    assert {str(call.mask.rule) for call in llama[2].calls} == {"causal ∧ padding"}
    assert {(call.heads, call.key_heads) for call in llama[2].calls} == {(9, 3)}
    assert len(llama[2].calls) == 30


def test_a_gguf_file_is_the_model_it_holds(llama: tuple[Loaded, Encoded, Trace], smollm2_gguf: Path) -> None:
    """The safetensors copy was made from the .gguf; its card is the same, whichever is read."""
    source = resolve(str(smollm2_gguf))
    assert source.gguf_file is not None
    config = load_config(source)
    assert config.model_type == "llama"
    assert llama[0].card.architecture == "LlamaForCausalLM"
    assert llama[0].card.parameters == 134_515_008


def test_a_pretrained_model_predicts_sense(llama: tuple[Loaded, Encoded, Trace]) -> None:
    loaded = llama[0]
    encoded = encode(loaded, Request(("The capital of France is",)))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    assert trace.outputs is not None
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.decode([int(trace.outputs.logits[0].argmax())]) == " Paris"


def test_chinese_and_emoji_tokens_are_readable(
    bert: tuple[Loaded, Encoded, Trace], llama: tuple[Loaded, Encoded, Trace]
) -> None:
    assert "世" in bert[1].batch.tokens[2]
    tokens = "".join(llama[1].batch.tokens[2])
    assert "\\x" in tokens or "👩" in tokens
    assert "Ġ" not in tokens
