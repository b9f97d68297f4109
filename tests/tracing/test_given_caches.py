"""A cache among the inputs: queries behind its tokens, and whoever handed it in finds it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DynamicCache, EncoderDecoderCache, StaticCache
from transformers.modeling_outputs import BaseModelOutput

import maskviz
from maskviz.core.errors import UsageError
from maskviz.core.run.trace import UNKNOWN
from maskviz.core.words import Stack
from maskviz.tracing.seam.implementations import cache_argument, cache_returned, copied, tensors_in, tokens_in
from tests.architectures import tiny

IDS = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13], [14, 15, 16, 17, 18, 19, 20, 21, 22]])
PAST = 3


def filled(model: Any, kind: str, keep: torch.Tensor | None = None) -> Any:
    """A cache of a kind that holds the first tokens."""
    cache: Any = None
    if kind == "static":
        cache = StaticCache(config=model.config, max_cache_len=IDS.shape[1])
    elif kind == "bare":
        cache = DynamicCache()
    elif kind == "sliding":
        cache = DynamicCache(config=model.config)
    mask = {} if keep is None else {"attention_mask": keep[:, :PAST]}
    returned = model(
        input_ids=IDS[:, :PAST], use_cache=True, **mask, **({cache_argument(model): cache} if cache else {})
    )
    return cache_returned(returned)


def numbers(cache: Any) -> list[Any]:
    return [one.detach().clone() for one in tensors_in(cache)]


def assert_as_it_was(cache: Any, before: list[Any], tokens: int) -> None:
    assert tokens_in(cache) == tokens
    after = list(tensors_in(cache))
    assert len(after) == len(before)
    for one, other in zip(after, before, strict=True):
        assert torch.equal(one, other)


KINDS = [("llama", "model's"), ("llama", "bare"), ("llama", "static"), ("mistral", "sliding"), ("gemma3", "model's")]
KINDS += [("gpt2", "model's"), ("bloom", "model's"), ("gpt_oss", "model's"), ("llama4", "model's")]


@pytest.mark.parametrize(("model_type", "kind"), KINDS)
def test_queries_behind_a_cache_are_the_rows_of_the_whole_text(model_type: str, kind: str) -> None:
    model = tiny(model_type)
    cache = filled(model, kind)
    before = numbers(cache)
    whole = maskviz.trace(model, {"input_ids": IDS})
    trace = maskviz.trace(model, {"input_ids": IDS[:, PAST:], cache_argument(model): cache})
    assert_as_it_was(cache, before, PAST)
    assert trace.batch.ids[:, :PAST].tolist() == [[UNKNOWN] * PAST] * 2
    assert trace.batch.tokens[0][:PAST] == ("#0", "#1", "#2")
    assert len(trace.calls) == len(whole.calls)
    for call, expected in zip(trace.calls, whole.calls, strict=True):
        assert call.mask.query_offset == PAST
        assert np.array_equal(call.mask.visible, expected.mask.visible[:, :, PAST:])
        assert str(call.mask.rule) == str(expected.mask.rule)
        assert call.pattern is not None
        assert expected.pattern is not None
        np.testing.assert_allclose(call.pattern, expected.pattern[:, :, PAST:], atol=1e-5)
    assert trace.drift is not None
    assert trace.drift < 1e-4
    assert trace.outputs is not None
    assert trace.outputs.places.tolist() == [[0, 8], [1, 8]]


def test_a_hybrid_cache_is_copied_with_its_states() -> None:
    from transformers import Lfm2Config, Lfm2ForCausalLM

    kinds = ["conv", "full_attention", "conv", "full_attention"]
    sizes: Any = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 4}
    torch.manual_seed(0)
    model = Lfm2ForCausalLM(
        Lfm2Config(**sizes, num_attention_heads=4, num_key_value_heads=2, layer_types=kinds, pad_token_id=0)
    ).eval()
    cache = filled(model, "model's")
    before = numbers(cache)
    assert len(before) > 4, "keys and values of two layers, and the states of the others"
    # Behind its states a convolution goes on token by token.
    trace = maskviz.trace(model, {"input_ids": IDS[:, PAST : PAST + 1], cache_argument(model): cache})
    whole = maskviz.trace(model, {"input_ids": IDS[:, : PAST + 1]})
    assert_as_it_was(cache, before, PAST)
    assert [call.layer for call in trace.calls] == [1, 3]
    for call, expected in zip(trace.calls, whole.calls, strict=True):
        assert call.pattern is not None
        assert expected.pattern is not None
        np.testing.assert_allclose(call.pattern, expected.pattern[:, :, PAST:], atol=1e-5)


def test_a_mask_of_past_and_new_is_the_padding_of_both() -> None:
    model = tiny("llama")
    keep = torch.tensor([[1] * 9, [0, 0] + [1] * 7])
    cache = filled(model, "model's", keep)
    trace = maskviz.trace(model, {"input_ids": IDS[:, PAST:], cache_argument(model): cache, "attention_mask": keep})
    whole = maskviz.trace(model, {"input_ids": IDS, "attention_mask": keep})
    assert np.array_equal(trace.batch.keep, keep.bool().numpy())
    assert np.array_equal(trace.calls[0].mask.visible, whole.calls[0].mask.visible[:, :, PAST:])
    assert str(trace.calls[0].mask.rule) == "causal ∧ padding"


def test_a_mask_of_the_new_tokens_alone_is_refused_as_too_short() -> None:
    model = tiny("llama")
    inputs = {"input_ids": IDS[:, PAST:], cache_argument(model): filled(model, "bare")}
    with pytest.raises(UsageError, match="2 x 6, the ids are 2 x 6 behind 3 tokens in the cache"):
        maskviz.trace(model, {**inputs, "attention_mask": torch.ones(2, 6, dtype=torch.long)})


@pytest.mark.parametrize("kind", ["bare", "static"])
def test_a_mask_of_four_axes_behind_a_cache_is_taken_as_it_is(kind: str) -> None:
    model = tiny("llama")
    allowed = torch.ones(1, 1, 9, 9, dtype=torch.bool).tril()
    allowed[..., 7, 4] = False
    cache = filled(model, kind)
    trace = maskviz.trace(
        model, {"input_ids": IDS[:, PAST:], cache_argument(model): cache, "attention_mask": allowed[:, :, PAST:]}
    )
    whole = maskviz.trace(model, {"input_ids": IDS, "attention_mask": allowed})
    for call, expected in zip(trace.calls, whole.calls, strict=True):
        assert np.array_equal(call.mask.visible, expected.mask.visible[:, :, PAST:])
        assert not call.mask.visible[0, 0, 7 - PAST, 4]
        assert call.pattern is not None
        assert expected.pattern is not None
        np.testing.assert_allclose(call.pattern, expected.pattern[:, :, PAST:], atol=1e-5)
    assert "your mask" in str(trace.calls[0].mask.rule) or "user" in str(trace.calls[0].mask.rule)


@pytest.mark.parametrize("outputs", [False, True], ids=["with ids", "with what the encoder put out"])
@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_the_cache_of_an_encoder_decoder_is_its_decoders(model_type: str, outputs: bool) -> None:
    model: Any = tiny(model_type)
    with torch.no_grad():
        first = model(input_ids=IDS, decoder_input_ids=IDS[:, :PAST], use_cache=True)
    cache = cache_returned(first)
    assert isinstance(cache, EncoderDecoderCache)
    before = numbers(cache)
    encoder = {"encoder_outputs": BaseModelOutput(last_hidden_state=first.encoder_last_hidden_state)}
    inputs = encoder if outputs else {"input_ids": IDS}
    trace = maskviz.trace(model, {**inputs, "decoder_input_ids": IDS[:, PAST:], cache_argument(model): cache})
    assert_as_it_was(cache, before, PAST)
    whole = maskviz.trace(model, {"input_ids": IDS, "decoder_input_ids": IDS})
    for stack in (Stack.DECODER, Stack.CROSS):
        for call, expected in zip(trace.of_stack(stack), whole.of_stack(stack), strict=True):
            assert call.pattern is not None
            assert expected.pattern is not None
            np.testing.assert_allclose(call.pattern, expected.pattern[:, :, PAST:], atol=1e-4)
    assert bool(trace.of_stack(Stack.ENCODER)) is not outputs


def test_a_cache_made_with_gradients_is_copied_too() -> None:
    model = tiny("llama")
    cache = filled(model, "bare")
    assert next(iter(tensors_in(cache))).requires_grad
    trace = maskviz.trace(model, {"input_ids": IDS[:, PAST:], cache_argument(model): cache})
    assert trace.calls[0].mask.visible.shape == (2, 1, 6, 9)
    assert next(iter(tensors_in(cache))).requires_grad


def test_heads_are_silenced_behind_a_cache_and_it_stays_as_it_was() -> None:
    model = tiny("llama")
    cache = filled(model, "bare")
    before = numbers(cache)
    trace = maskviz.trace(model, {"input_ids": IDS[:, PAST:], cache_argument(model): cache}, head_mask="0:*; 1:2")
    assert_as_it_was(cache, before, PAST)
    assert trace.before is not None
    assert trace.change is not None


def test_a_copy_shares_no_memory() -> None:
    value = {"cache": [torch.zeros(2), (torch.ones(2),)], "n": 3}
    copy = copied(value)
    assert copy["n"] == 3
    copy["cache"][0] += 1
    copy["cache"][1][0].zero_()
    assert value["cache"][0].tolist() == [0, 0]  # type: ignore[index]
    assert value["cache"][1][0].tolist() == [1, 1]  # type: ignore[index]


def test_a_trace_behind_a_cache_is_saved_shown_and_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny("llama")
    trace = maskviz.trace(model, {"input_ids": IDS[:, PAST:], cache_argument(model): filled(model, "bare")})
    again = maskviz.load_trace(trace.save(tmp_path / "run.npz"))
    assert np.array_equal(again.batch.ids, trace.batch.ids)
    again.show()
    assert "#0" in capsys.readouterr().out
    for suffix in ("html", "png", "json", "txt"):
        trace.save(tmp_path / f"run.{suffix}")
    maskviz.read_heads(trace)


def test_a_cache_of_layers_without_keys_counts_those_that_have_some() -> None:
    cache = DynamicCache()
    cache.update(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2), 1)
    assert tokens_in(cache) == 3
    assert tokens_in(((torch.zeros(1, 2, 4, 3), torch.zeros(1, 2, 4, 3)),)) == 4
