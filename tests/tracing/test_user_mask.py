"""A mask of the user's own does to a traced model what it does to the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version

from maskviz.analyse.user_mask import with_user_mask
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import Trace
from maskviz.core.words import Stack
from maskviz.load.inputs.user_mask import GivenMask, given_mask
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.tracing.run import run
from tests.architectures import tiny
from tests.tracing.conftest import loaded_tiny, random_rows

LENGTH = 7
LOWEST = torch.finfo(torch.float32).min

# Causal but for a hole and a look ahead, so that neither the model's rules nor their absence explain it.
ALLOWED = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
ALLOWED[5, 2] = False
ALLOWED[2, 4] = True

SDPA = ("bert", "llama", "mistral", "gemma3", "qwen3", "llama4", "falcon", "roberta")
EAGER = ["gpt_oss"] if Version(transformers.__version__) >= Version("5.24") else ["gpt_oss", "gptj"]


def additive(allowed: torch.Tensor, blocked: float = LOWEST) -> torch.Tensor:
    return torch.zeros(allowed.shape).masked_fill(~allowed, blocked)


def masked(model_type: str, mask: torch.Tensor, request: Request | None = None) -> tuple[Trace, Loaded, Encoded]:
    loaded = loaded_tiny(model_type)
    encoded = encode(loaded, request or Request(ids=random_rows((LENGTH, LENGTH))))
    given: GivenMask = given_mask(loaded, encoded.batch, mask)
    plain = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    inputs = {**encoded.inputs, "attention_mask": given.tensor}
    trace = run(loaded.model, inputs, encoded.batch, loaded.card, like=plain)
    return with_user_mask(trace, plain, given.visible), loaded, encoded


def own_attentions(model_type: str, encoded: Encoded, mask: torch.Tensor) -> list[Any]:
    """What the model, built eager and never tapped, returns under output_attentions=True with this very mask."""
    with torch.no_grad():
        returned: Any = tiny(model_type, attention="eager")(
            **{**encoded.inputs, "attention_mask": mask}, output_attentions=True
        )
    return [one.numpy() for one in returned.attentions]


@pytest.mark.parametrize("kind", ["bool", "lowest", "-inf"])
@pytest.mark.parametrize("model_type", SDPA)
def test_a_mask_of_four_axes_is_the_whole_mask_of_a_model_that_runs_sdpa(model_type: str, kind: str) -> None:
    mask = ALLOWED[None, None]
    if kind != "bool":
        mask = additive(mask, LOWEST if kind == "lowest" else float("-inf"))
    trace, _, encoded = masked(model_type, mask)
    assert trace.plain_attention == "sdpa"
    assert trace.drift is not None
    assert trace.drift < 1e-4
    own = own_attentions(model_type, encoded, additive(ALLOWED)[None, None])
    for call, maps in zip(trace.calls, own, strict=True):
        np.testing.assert_allclose(call.pattern, maps, atol=1e-6, rtol=0)  # type: ignore[arg-type]
        assert np.array_equal(np.broadcast_to(call.mask.visible, maps.shape), maps > 0)
        assert str(call.mask.rule) == "user mask"
        assert call.mask.agrees is True
        assert set(np.unique(call.mask.reasons).tolist()) == {0, int(Reason.USER)}
    assert len({id(call.mask) for call in trace.calls}) == 1


@pytest.mark.parametrize("model_type", EAGER)
def test_a_boolean_mask_is_added_where_the_model_runs_eager(model_type: str) -> None:
    """Trap T3: nothing is blocked, and nothing is said by the model."""
    mask = ALLOWED[None, None]
    trace, _, encoded = masked(model_type, mask)
    assert trace.plain_attention == "eager"
    for call, maps in zip(trace.calls, own_attentions(model_type, encoded, mask), strict=True):
        np.testing.assert_allclose(call.pattern, maps, atol=1e-6, rtol=0)  # type: ignore[arg-type]
        assert (maps > 0).all(), "this test must be able to fail"
        assert call.mask.visible.all()
    blocked = 2 * int((~ALLOWED).sum())
    assert any(f"{blocked} cells that the mask means to block are visible" in note for note in trace.notes)
    assert any("causal in every layer" in note for note in trace.notes)


@pytest.mark.parametrize("model_type", ["llama", "gpt_oss"])
def test_a_float_mask_of_zeros_and_ones_blocks_nothing(model_type: str) -> None:
    """Trap T2."""
    mask = ALLOWED[None, None].float()
    trace, _, encoded = masked(model_type, mask)
    for call, maps in zip(trace.calls, own_attentions(model_type, encoded, mask), strict=True):
        np.testing.assert_allclose(call.pattern, maps, atol=1e-6, rtol=0)  # type: ignore[arg-type]
        assert call.mask.visible.all()
    assert any("means to block are visible" in note for note in trace.notes)


def test_rules_that_a_mask_of_four_axes_replaces_are_counted() -> None:
    """Trap L3: a window is not applied on top of a mask that is given whole."""
    trace, loaded, encoded = masked("gemma3", torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()[None, None])
    plain = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    opened = 0
    for row in range(encoded.batch.rows):
        for query in range(LENGTH):
            for key in range(query + 1):
                opened += not bool(plain.calls[1].mask.visible[row, 0, query, key])
    assert opened == 2 * (1 + 2 + 3)
    assert trace.notes == (
        f"the mask replaces rules of the model's own, which no longer hold: window(4) in layers 1, 2 ({opened} cells)",
    )


def test_padding_that_a_mask_leaves_visible_is_counted() -> None:
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()[None, None]
    trace, _, _ = masked("llama", causal, Request(ids=random_rows((LENGTH, 5)), padding_side="left"))
    assert trace.notes == (
        "the mask replaces rules of the model's own, which no longer hold: padding in every layer (10 cells)",
    )


@pytest.mark.parametrize(
    ("model_type", "rules"),
    [
        ("bert", {"user mask"}),
        ("llama", {"causal ∧ user mask"}),
        ("gemma3", {"causal ∧ user mask", "causal ∧ window(4) ∧ user mask"}),
        ("gpt2", {"causal ∧ user mask"}),
        ("bloom", {"causal ∧ user mask"}),
        ("gpt_oss", {"causal ∧ user mask", "causal ∧ window(4) ∧ user mask"}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_a_mask_of_tokens_is_joined_with_the_models_rules(model_type: str, rules: set[str], dtype: torch.dtype) -> None:
    keep = torch.ones(2, LENGTH, dtype=dtype)
    keep[0, 2] = keep[1, 5] = 0
    trace, _, encoded = masked(model_type, keep)
    assert {str(call.mask.rule) for call in trace.calls} == rules
    for call, maps in zip(trace.calls, own_attentions(model_type, encoded, keep), strict=True):
        np.testing.assert_allclose(call.pattern, maps, atol=1e-6, rtol=0)  # type: ignore[arg-type]
        assert call.mask.agrees is True
        assert call.mask.reasons[0, 0, 6, 2] & Reason.USER
    assert trace.notes == ()


def test_of_an_encoder_decoder_the_encoder_and_the_cross_attention_are_masked() -> None:
    keep = torch.ones(2, LENGTH, dtype=torch.int64)
    keep[0, 2] = 0
    request = Request(ids=random_rows((LENGTH,) * 2), target_ids=random_rows((LENGTH,) * 2, seed=1))
    trace, _, _ = masked("bart", keep, request)
    rules = {stack: {str(call.mask.rule) for call in trace.of_stack(stack)} for stack in Stack}
    assert rules == {Stack.ENCODER: {"user mask"}, Stack.DECODER: {"causal"}, Stack.CROSS: {"user mask"}}


@pytest.mark.parametrize("blocked", [None, float("-inf")])
def test_a_query_that_may_attend_to_nothing_gets_what_sdpa_gives_it(blocked: float | None) -> None:
    allowed = ALLOWED.clone()
    allowed[3] = False
    mask = allowed[None, None] if blocked is None else additive(allowed, blocked)[None, None]
    trace, _, _ = masked("llama", mask)
    assert trace.drift is not None
    assert trace.drift < 1e-4
    for call in trace.calls:
        assert call.pattern is not None
        assert (call.pattern[:, :, 3] == 0).all()
    assert any("queries that may attend to nothing: 2;" in note for note in trace.notes)


def test_a_mask_may_differ_between_heads() -> None:
    mask = ALLOWED.expand(1, 4, LENGTH, LENGTH).clone()
    mask[0, 3, 6, :3] = False
    trace, _, encoded = masked("llama", mask)
    for call, maps in zip(trace.calls, own_attentions("llama", encoded, additive(mask)), strict=True):
        np.testing.assert_allclose(call.pattern, maps, atol=1e-6, rtol=0)  # type: ignore[arg-type]
        assert np.array_equal(call.mask.visible, maps > 0)
        assert str(call.mask.rule) == "user mask"
        assert call.mask.agrees is True
        assert (call.mask.reasons[:, 3, 6, :3] == Reason.USER).all()
        assert (call.mask.reasons[:, 2, 6, :3] == 0).all()


def test_a_mask_that_looks_ahead_does_not_make_a_decoder_an_encoder() -> None:
    trace, _, _ = masked("llama", torch.ones(1, 1, LENGTH, LENGTH, dtype=torch.bool))
    assert trace.stacks == (Stack.DECODER,)
    assert trace.outputs is not None
    assert trace.outputs.kind.value == "next token"


def test_packed_texts_can_be_separated_by_a_mask() -> None:
    documents = torch.tensor([0] * 3 + [1] * 4)
    block = ALLOWED & (documents[:, None] == documents[None, :])
    packed = Request(ids=random_rows((3, 4)), packed=True)
    trace, _, _ = masked("llama", block[None, None], packed)
    loaded = loaded_tiny("llama")
    apart = encode(loaded, Request(ids=random_rows((3, 4)), packed=True, no_cache=True))
    separated = run(loaded.model, apart.inputs, apart.batch, loaded.card)
    outside = ~(documents[:, None] == documents[None, :])
    for call, other in zip(trace.calls, separated.calls, strict=True):
        assert not call.mask.visible[0, 0][outside.numpy()].any()
        assert not other.mask.visible[0, 0][outside.numpy()].any()
