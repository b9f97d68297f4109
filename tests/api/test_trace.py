"""`maskviz.trace`: names, live models, their inputs; and that a model is afterwards as it was."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging

import maskviz
from maskviz import demo
from maskviz.core.arrays import FloatArray
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.run.trace import Trace
from tests.architectures import tiny

# PEFT asks for a name that transformers has given another.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
TEXTS = ["the cat sat in the house", "the dog sat"]


def pattern(trace: Trace, layer: int) -> FloatArray:
    found = trace.calls[layer].pattern
    assert found is not None
    return found


def demo_model(name: str = "gpt", **options: Any) -> Any:
    kind = AutoModelForMaskedLM if name == "bert" else AutoModelForCausalLM
    return kind.from_pretrained(demo.folder(name), **options)


def demo_tokenizer(name: str = "gpt") -> Any:
    return AutoTokenizer.from_pretrained(demo.folder(name))


def test_a_model_by_name_is_traced() -> None:
    trace = maskviz.trace("demo:bert", TEXTS)
    assert trace.batch.rows == 2
    assert not trace.batch.keep.all()
    assert repr(trace) == "<Trace of demo:bert: 2 x 8 tokens, 4 attention calls, 16 heads>"
    assert isinstance(trace, maskviz.Trace)


@pytest.mark.parametrize("name", ["bert", "gpt"])
def test_a_model_object_gives_the_weights_it_returns_itself(name: str) -> None:
    model, tokenizer = demo_model(name, attn_implementation="eager").eval(), demo_tokenizer(name)
    inputs = tokenizer(TEXTS, return_tensors="pt", padding=True)
    with torch.no_grad():
        theirs = model(**inputs, output_attentions=True).attentions
    for trace in (maskviz.trace(model, TEXTS, tokenizer=tokenizer), maskviz.trace(model, inputs, tokenizer=tokenizer)):
        assert [call.layer for call in trace.calls] == list(range(len(theirs)))
        for call, attention in zip(trace.calls, theirs, strict=True):
            real = trace.real_queries(call)[:, None, :, None]
            np.testing.assert_allclose(pattern(trace, call.layer) * real, attention.numpy() * real, atol=1e-6)


def test_inputs_are_passed_on_as_they_are() -> None:
    model = demo_model("gpt")
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    positions = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 1]])
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "labels": ids}
    trace = maskviz.trace(model, inputs)
    assert trace.batch.keep.tolist() == mask.bool().tolist()
    assert trace.batch.position_ids is not None
    assert trace.batch.position_ids.tolist() == positions.tolist()
    assert not trace.calls[0].mask.visible[1, 0, :, :2].any()
    assert trace.drift is not None
    assert trace.drift < 1e-4


def state(model: Any) -> dict[str, Any]:
    """What of a model, and of the process, a trace might change."""
    modules = list(model.modules())
    return {
        "training": [module.training for module in modules],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules],
        "forwards": ["forward" in vars(module) for module in modules],
        "implementation": model.config._attn_implementation,
        "gradients": [parameter.requires_grad for parameter in model.parameters()],
        "weights": [parameter.detach().clone() for parameter in model.parameters()],
        "random": (torch.get_rng_state(), str(np.random.get_state()), random.getstate()),
        "grad": torch.is_grad_enabled(),
        "said": (logging.get_verbosity(), logging.is_progress_bar_enabled()),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@pytest.mark.parametrize("head_mask", [None, "0:1"])
def test_a_model_is_afterwards_as_it_was(head_mask: str | None) -> None:
    model = demo_model("gpt").train()
    model.transformer.h[0].eval()
    before = state(model)
    maskviz.trace(model, TEXTS, tokenizer=demo_tokenizer(), head_mask=head_mask)
    assert same(before, state(model))


def test_a_model_is_afterwards_as_it_was_when_it_raises() -> None:
    model = demo_model("gpt").train()
    model.transformer.h[1].mlp.c_fc = torch.nn.Linear(3, 3)
    before = state(model)
    with pytest.raises(CannotTraceError):
        maskviz.trace(model, {"input_ids": torch.tensor([[5, 6, 7]])})
    assert same(before, state(model))


def adapted(**options: Any) -> Any:
    torch.manual_seed(0)
    lora = LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False, **options)
    return get_peft_model(tiny("llama", attention="eager"), lora)


def test_an_adapter_of_peft_runs_with_the_model() -> None:
    wrapped = adapted().eval()
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        theirs = wrapped(input_ids=ids, output_attentions=True).attentions
    trace = maskviz.trace(wrapped, ids=ids.tolist())
    assert trace.card.note == "with adapter default"
    for call, attention in zip(trace.calls, theirs, strict=True):
        np.testing.assert_allclose(pattern(trace, call.layer), attention.numpy(), atol=1e-6)


def test_an_adapter_that_is_switched_off_stays_off() -> None:
    wrapped = adapted()
    on = maskviz.trace(wrapped, ids=[[5, 6, 7, 8, 9]])
    with wrapped.disable_adapter():
        off = maskviz.trace(wrapped, ids=[[5, 6, 7, 8, 9]])
    again = maskviz.trace(wrapped, ids=[[5, 6, 7, 8, 9]])
    plain = maskviz.trace(tiny("llama", attention="eager"), ids=[[5, 6, 7, 8, 9]])
    assert off.card.note == ""
    patterns = [pattern(trace, 0) for trace in (on, again, off, plain)]
    np.testing.assert_array_equal(patterns[0], patterns[1])
    np.testing.assert_allclose(patterns[2], patterns[3], atol=1e-6)
    assert np.abs(patterns[0] - patterns[2]).max() > 1e-3


def test_an_adapter_outside_of_the_model_is_run_with_its_virtual_tokens() -> None:
    wrapped = get_peft_model(demo_model("gpt"), PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    trace = maskviz.trace(wrapped, ids=[[5, 6]])
    assert trace.batch.tokens == (("virtual 0", "virtual 1", "5", "6"),)
    assert trace.calls[0].mask.visible.shape[2:] == (2, 4)


def test_a_wrapped_model_is_found() -> None:
    model = demo_model("gpt")
    plain = maskviz.trace(model, ids=[[5, 6, 7]])
    for wrapped in (torch.compile(model), torch.nn.DataParallel(model)):
        trace = maskviz.trace(wrapped, ids=[[5, 6, 7]])
        np.testing.assert_array_equal(pattern(trace, 0), pattern(plain, 0))


def test_a_head_mask_gives_before_and_after() -> None:
    gates = np.ones((3, 4), dtype=np.float32)
    gates[0, 1] = 0
    by_array = maskviz.trace("demo:gpt", "the cat sat", head_mask=gates)
    tensor = torch.tensor(gates, requires_grad=True)
    for other in ("0:1", maskviz.HeadMask({"decoder": gates}), {"decoder": gates}, tensor, gates.tolist()):
        trace = maskviz.trace("demo:gpt", "the cat sat", head_mask=other)
        assert trace.before is not None
        np.testing.assert_array_equal(pattern(trace, -1), pattern(by_array, -1))
    assert by_array.change is not None
    assert float(by_array.change.patterns[-1].moved.max()) > 0


def test_without_weights_there_are_masks_alone() -> None:
    trace = maskviz.trace("demo:gpt", "the cat sat", weights=False)
    assert all(call.pattern is None for call in trace.calls)
    assert trace.calls[0].mask.visible[0, 0].tolist() == np.tri(trace.batch.length, dtype=bool).tolist()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        (("demo:gpt", "the cat"), {"layers": 3}, TypeError, "unexpected keyword argument 'layers'"),
        (("demo:nothing", "the cat"), {}, UsageError, "there is no demo model"),
        (("no/such/folder", "the cat"), {}, NotFoundError, "does not exist"),
        ((3, "the cat"), {}, UsageError, "a int is no model"),
        (("demo:gpt",), {}, UsageError, "there is no text"),
        (("demo:gpt", [3]), {}, UsageError, "a text is a int"),
        (("demo:gpt", None), {"ids": [3]}, UsageError, "no rows of numbers"),
        (("demo:gpt", {"input_ids": [3]}), {}, UsageError, r"no input_ids \[batch, token\]"),
        (("demo:gpt", {"input_ids": [[3, 4]], "attention_mask": [[1]]}), {}, UsageError, "mask is 1 x 1"),
        (("demo:t5", {"input_ids": [[3, 4]]}), {}, UsageError, "no decoder_input_ids"),
        (("demo:gpt", {"input_ids": [[3]]}), {"padding_side": "left"}, UsageError, "padding_side= is for texts"),
        (("demo:gpt", {"input_ids": [[3, 99999]]}), {}, UsageError, "id 99999 is not in the vocabulary"),
        (("demo:gpt", "the cat"), {"padding_side": "up"}, UsageError, "no padding side 'up'"),
        (("demo:gpt", "the cat"), {"max_length": 0}, UsageError, "max_length=0 is out of range"),
        (("demo:gpt", "the cat"), {"head_mask": "9:0"}, UsageError, "layer 9 does not exist"),
        (("demo:gpt", "the cat"), {"head_mask": [["a"]]}, UsageError, "the head mask holds"),
    ],
)
def test_what_is_wrong_is_said(arguments: Any, options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        maskviz.trace(*arguments, **options)


def test_options_of_names_do_not_go_with_an_object() -> None:
    with pytest.raises(UsageError, match="device= is for models by name"):
        maskviz.trace(tiny("llama"), ids=[[3]], device="cpu")


def test_a_text_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(UsageError, match="no tokenizer for the text: the model does not say where it came from"):
        maskviz.trace(tiny("llama"), "the cat")


def test_several_threads_wait_for_each_other() -> None:
    with ThreadPoolExecutor(3) as pool:
        traces = list(pool.map(lambda _: maskviz.trace("demo:gpt", "the cat sat"), range(3)))
    for trace in traces[1:]:
        np.testing.assert_array_equal(pattern(trace, 2), pattern(traces[0], 2))


def test_a_saved_trace_is_read_back(tmp_path: Path) -> None:
    trace = maskviz.trace("demo:gpt", "the cat sat", head_mask="0:1")
    again = maskviz.load_trace(trace.save(tmp_path / "run.npz"))
    assert repr(again) == repr(trace)
    assert again.head_mask is not None
    assert again.before is not None
    assert trace.before is not None
    np.testing.assert_array_equal(pattern(again.before, 1), pattern(trace.before, 1))
