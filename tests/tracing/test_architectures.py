"""What is traced is what the model itself returns, on every architecture the project promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskviz.core.arrays import AnyArray
from maskviz.core.rules.algebra import Opaque
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import AttentionCall
from maskviz.core.words import Stack
from maskviz.tracing.run import head_shapes, run_gated
from tests.architectures import ENCODER_DECODERS, tiny
from tests.tracing.conftest import Example

RULES: dict[str, dict[str, set[str]]] = {
    "bert": {"encoder": {"padding"}},
    "gpt2": {"decoder": {"causal ∧ padding"}},
    "llama": {"decoder": {"causal ∧ padding"}},
    "mistral": {"decoder": {"causal ∧ window(4) ∧ padding"}},
    "gemma2": {"decoder": {"causal ∧ padding", "causal ∧ window(4) ∧ padding"}},
    "gemma3": {"decoder": {"causal ∧ padding", "causal ∧ window(4) ∧ padding"}},
    "modernbert": {"encoder": {"padding", "window(±2) ∧ padding"}},
    "qwen3": {"decoder": {"causal ∧ padding"}},
    "gpt_oss": {"decoder": {"causal ∧ padding", "causal ∧ window(4) ∧ padding"}},
    "t5": {"encoder": {"padding"}, "decoder": {"causal ∧ padding"}, "cross": {"padding"}},
    "bart": {"encoder": {"padding"}, "decoder": {"causal ∧ padding"}, "cross": {"padding"}},
    "bloom": {"decoder": {"causal ∧ padding"}},
    "mpt": {"decoder": {"causal ∧ padding"}},
    "falcon": {"decoder": {"causal ∧ padding"}},
    "gptj": {"decoder": {"causal ∧ padding"}},
    "deberta-v2": {"encoder": {"padding(keys, queries)"}},
    "xlnet": {"encoder": {"padding ∨ itself"}},
    "xglm": {"decoder": {"causal ∧ padding"}},
    "trocr": {"decoder": {"causal ∧ padding"}},
    "openai-gpt": {"decoder": {"causal ∧ padding"}},
    "llama4": {"decoder": {"causal ∧ chunk(4) ∧ padding", "causal ∧ padding"}},
    "albert": {"encoder": {"padding"}},
    "roberta": {"encoder": {"padding"}},
}


def own_attentions(example: Example) -> dict[Stack, list[AnyArray]]:
    """What the model returns under output_attentions=True, built eager and never tapped."""
    model = tiny(example.model_type, attention="eager")
    with torch.no_grad():
        returned: Any = model(**example.encoded.inputs, output_attentions=True)
    if example.model_type in ENCODER_DECODERS:
        found = {
            Stack.ENCODER: returned.encoder_attentions,
            Stack.DECODER: returned.decoder_attentions,
            Stack.CROSS: returned.cross_attentions,
        }
    else:
        found = {example.trace.calls[0].stack: returned.attentions}
    return {stack: [one.numpy() for one in maps] for stack, maps in found.items()}


def real_rows(example: Example, call: AttentionCall, array: AnyArray) -> AnyArray:
    """Rows of real queries of [batch, head, query, key] as [row, head, key]."""
    selected: AnyArray = array.transpose(0, 2, 1, 3)[example.trace.real_queries(call)]
    return selected


def test_pattern_is_what_the_model_returns(example: Example) -> None:
    for stack, maps in own_attentions(example).items():
        calls = example.trace.of_stack(stack)
        assert [call.layer for call in calls] == list(range(len(maps)))
        for call, own in zip(calls, maps, strict=True):
            assert call.pattern is not None
            np.testing.assert_allclose(
                real_rows(example, call, call.pattern), real_rows(example, call, own), atol=1e-6, rtol=0
            )


def test_visible_is_exactly_where_the_model_attends(example: Example) -> None:
    for stack, maps in own_attentions(example).items():
        for call, own in zip(example.trace.of_stack(stack), maps, strict=True):
            visible = np.broadcast_to(call.mask.visible, own.shape)
            assert np.array_equal(real_rows(example, call, visible), real_rows(example, call, own) > 0)


def test_listening_does_not_change_the_outputs(example: Example) -> None:
    assert example.trace.drift is not None
    assert example.trace.drift < 1e-4


def test_the_rule_is_read_and_agrees_with_the_cells(example: Example) -> None:
    found: dict[str, set[str]] = {}
    for call in example.trace.calls:
        assert not any(isinstance(leaf, Opaque) for leaf in call.mask.rule.leaves())
        assert call.mask.agrees is True
        found.setdefault(call.stack.value, set()).add(str(call.mask.rule))
    assert found == RULES[example.model_type]


def test_nothing_is_noted_about_a_clean_run(example: Example) -> None:
    assert example.trace.notes == ()


def test_a_gate_is_zeroing_the_heads_slice_of_the_projections_input_weights(example: Example) -> None:
    if example.model_type == "albert":
        pytest.skip("one module is every layer of ALBERT: its weights cannot be cut for one layer alone")
    shapes = head_shapes(example.trace)
    gates = {stack: np.ones(shape, np.float32) for stack, shape in shapes.items()}
    for table in gates.values():
        table[0, 1] = 0
        table[1, :2] = 0
    mask = HeadMask(gates)
    gated = run_gated(example.model, example.encoded.inputs, example.trace, mask)
    pruned = tiny(example.model_type)
    for stack, head, _ in mask.changed():
        call = next(one for one in example.trace.of_stack(Stack(stack)) if one.layer == head.layer)
        silence(pruned, example.model_type, call, head.head)
    with torch.no_grad():
        expected = pruned(**example.encoded.inputs)
    with torch.no_grad():
        plain = example.model(**example.encoded.inputs)
    assert gated.outputs is not None
    for place, logits in zip(gated.outputs.places.tolist(), gated.outputs.logits, strict=True):
        np.testing.assert_allclose(logits, expected.logits[place[0], place[1]].numpy(), atol=5e-5, rtol=1e-4)
    losses = token_losses(example, expected.logits)
    assert gated.outputs.token_loss is not None
    np.testing.assert_allclose(gated.outputs.token_loss, losses, atol=2e-5, rtol=1e-4)
    assert np.nanmax(np.abs(losses - token_losses(example, plain.logits))) > 1e-3, "the gates change nothing"


def token_losses(example: Example, logits: torch.Tensor) -> AnyArray:
    """Loss of every real token, by a loop: the naive twin."""
    side = example.trace.batch.decoder or example.trace.batch
    causal = example.trace.calls[-1].stack is not Stack.ENCODER
    losses = np.full(side.ids.shape, np.nan)
    for row in range(side.rows):
        for place in range(side.length):
            source = place - 1 if causal else place
            if source < 0 or not side.keep[row, place] or not side.keep[row, source]:
                continue
            losses[row, place] = -logits[row, source].log_softmax(-1)[side.ids[row, place]]
    return losses


# The output projection of each attention module, by the names its implementations use.
PROJECTIONS = ("o_proj", "c_proj", "out_proj", "Wo", "dense", "o", "output.dense")


def silence(model: torch.nn.Module, model_type: str, call: AttentionCall, head: int) -> None:
    """Zero what the output projection reads of one head: columns of a Linear, rows of GPT-2's Conv1D."""
    attention = model.get_submodule(call.module)
    if model_type == "xlnet":  # o is [width, head, head width]
        with torch.no_grad():
            attention.o[:, head] = 0  # type: ignore[operator]
        return
    holders = [attention, model.get_submodule(call.module.rpartition(".")[0])]
    projection = next(
        found for holder in holders for name in PROJECTIONS if (found := _submodule(holder, name)) is not None
    )
    weight = projection.weight
    assert isinstance(weight, torch.Tensor)
    rows_are_inputs = type(projection).__name__ == "Conv1D"
    width = weight.shape[0 if rows_are_inputs else 1] // call.heads
    columns = slice(head * width, (head + 1) * width)
    with torch.no_grad():
        if rows_are_inputs:
            weight[columns] = 0
        else:
            weight[:, columns] = 0


def _submodule(module: torch.nn.Module, path: str) -> torch.nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None
