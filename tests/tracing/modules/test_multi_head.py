"""nn.MultiheadAttention in all its forms, beside the weights of each head that it returns when it is asked for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn
from torch.nn import functional

from maskviz.core.rules.reasons import Reason
from tests.own_modules import NEAR, Calls, apart, patterns, ran, silenced, visible

WIDTH, HEADS, ROWS, QUERIES, KEYS = 12, 3, 2, 4, 5


def attention(**options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    made = nn.MultiheadAttention(WIDTH, HEADS, **options).eval()
    for one in made.parameters():
        nn.init.normal_(one, std=0.4)
    return made


def tokens(count: int, width: int = WIDTH, *, rows: int | None = ROWS, first: bool = True, seed: int = 0) -> Any:
    shape = (count, width) if rows is None else (rows, count, width) if first else (count, rows, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mask(kind: str, queries: int, keys: int, *, seed: int = 0) -> torch.Tensor | None:
    """A mask of a kind in which every query sees its first key."""
    if kind == "none":
        return None
    form, _, axes = kind.partition(" ")
    shape = (queries, keys) if axes == "2-D" else (ROWS * HEADS, queries, keys)
    blocked = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    blocked[..., 0] = False
    return blocked if form == "bool" else torch.zeros(shape).masked_fill(blocked, -torch.inf) + 0.3


def padding(kind: str, keys: int) -> torch.Tensor | None:
    if kind == "none":
        return None
    out = torch.arange(keys)[None] >= torch.tensor([keys, keys - 2])[:, None]
    return out if kind == "bool" else torch.zeros(ROWS, keys).masked_fill(out, -torch.inf)


def truth(made: nn.MultiheadAttention, given_: dict[str, Any]) -> Any:
    """The weights [row, head, query, key] the module returns itself."""
    asked = {**given_, "need_weights": True, "average_attn_weights": False}
    with torch.no_grad():
        weights = made(**asked)[1]
    return weights if weights.ndim == 4 else weights[None]


def one_head_less(made: nn.MultiheadAttention, weights: torch.Tensor, value: torch.Tensor, head: int) -> torch.Tensor:
    """What a batch-first module puts out when a head's output is zero before its output projection: a plain loop."""
    _, _, of_values = made.in_proj_weight.chunk(3)
    bias = made.in_proj_bias.chunk(3)[2]
    width = WIDTH // HEADS
    values = (value @ of_values.T + bias).reshape(value.shape[0], -1, HEADS, width)
    mixed = torch.zeros(weights.shape[0], weights.shape[2], HEADS, width)
    for row in range(weights.shape[0]):
        for one in range(HEADS):
            if one != head:
                mixed[row, :, one] = weights[row, one] @ values[row, :, one]
    return mixed.flatten(2) @ made.out_proj.weight.T + made.out_proj.bias


@pytest.mark.parametrize("first", [True, False], ids=["batch first", "tokens first"])
@pytest.mark.parametrize(
    ("kind", "pad"),  # torch deprecates a mask and a padding mask of two kinds
    [
        *(("none", pad) for pad in ("none", "bool", "float")),
        *((f"{form} {axes}", pad) for form in ("bool", "float") for axes in ("2-D", "3-D") for pad in ("none", form)),
    ],
)
def test_what_is_heard_is_what_the_module_returns_under_every_mask(kind: str, pad: str, first: bool) -> None:
    made = attention(batch_first=first)
    inputs = {
        "query": tokens(QUERIES, first=first),
        "key": tokens(KEYS, first=first, seed=1),
        "value": tokens(KEYS, first=first, seed=2),
        "attn_mask": mask(kind, QUERIES, KEYS),
        "key_padding_mask": padding(pad, KEYS),
    }
    run = ran(made, {name: one for name, one in inputs.items() if one is not None})
    assert apart(patterns(run)[0], truth(made, inputs)) < NEAR
    # Whatever is not visible weighs nothing, and the other way round.
    assert ((truth(made, inputs).numpy() > 0) == visible(run)).all()
    assert run.trace.drift is not None and run.trace.drift < NEAR
    if pad != "none":
        assert (run.trace.calls[0].mask.reasons[1, 0, :, KEYS - 2 :] == Reason.PADDING).all()


@pytest.mark.parametrize("averaged", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_a_caller_gets_the_weights_it_asked_for_and_no_others(wanted: bool, averaged: bool) -> None:
    made = attention(batch_first=True)
    got: list[Any] = []

    def keeping(x: torch.Tensor) -> torch.Tensor:
        output, weights = made(x, x, x, need_weights=wanted, average_attn_weights=averaged)
        got.append(weights)
        return torch.as_tensor(output)

    block = Calls(keeping)
    block.inner = made
    run = ran(block, tokens(QUERIES))
    plain, listened = got
    if wanted:
        assert apart(plain, listened) < NEAR
    else:
        assert plain is None and listened is None
    assert run.trace.calls[0].module == "inner"
    x = tokens(QUERIES)
    assert apart(patterns(run)[0], truth(made, {"query": x, "key": x, "value": x})) < NEAR


def test_a_row_without_a_batch_is_one_row() -> None:
    made = attention()
    inputs = {name: tokens(QUERIES, rows=None) for name in ("query", "key", "value")}
    run = ran(made, inputs)
    assert patterns(run)[0].shape == (1, HEADS, QUERIES, QUERIES)
    assert apart(patterns(run)[0], truth(made, inputs)) < NEAR
    with_padding = {**inputs, "key_padding_mask": torch.tensor([False, False, False, True])}
    run = ran(made, with_padding)
    assert apart(patterns(run)[0], truth(made, with_padding)) < NEAR
    assert run.trace.batch.keep.tolist() == [[True, True, True, False]]


def test_keys_and_values_may_have_widths_of_their_own() -> None:
    made = attention(batch_first=True, kdim=7, vdim=9)
    inputs = {"query": tokens(QUERIES), "key": tokens(KEYS, 7), "value": tokens(KEYS, 9)}
    assert apart(patterns(ran(made, inputs))[0], truth(made, inputs)) < NEAR


@pytest.mark.parametrize(
    "options", [{"add_bias_kv": True}, {"add_zero_attn": True}, {"add_bias_kv": True, "add_zero_attn": True}]
)
@pytest.mark.parametrize("masked", [False, True])
def test_keys_that_the_module_adds_are_keys_without_a_mask(options: dict[str, Any], masked: bool) -> None:
    made = attention(batch_first=True, **options)
    x, more = tokens(QUERIES), sum(options.values())
    inputs = {"query": x, "key": x, "value": x}
    if masked:
        inputs |= {"attn_mask": mask("bool 2-D", QUERIES, QUERIES), "key_padding_mask": padding("bool", QUERIES)}
    run = ran(made, inputs)
    found = patterns(run)[0]
    assert found.shape[-1] == QUERIES + more
    assert apart(found, truth(made, inputs)) < NEAR
    assert visible(run)[..., QUERIES:].all()
    assert ((truth(made, inputs).numpy() > 0) == visible(run)).all()


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("right", [True, False], ids=["a true hint", "a hint that lies"])
def test_the_causal_hint_is_believed_where_torch_believes_it(
    options: dict[str, Any], wanted: bool, right: bool
) -> None:
    made = attention(batch_first=True, **options)
    x = tokens(QUERIES)
    handed = torch.ones(QUERIES, QUERIES, dtype=torch.bool).triu(1) if right else torch.zeros(QUERIES, QUERIES).bool()
    inputs = {"query": x, "key": x, "value": x, "attn_mask": handed, "is_causal": True, "need_weights": wanted}
    run = ran(made, inputs)
    with torch.no_grad():
        own = made(**inputs)[0]
    # The values that go with what was heard make what the module puts out.
    assert run.output is not None and apart(run.output, own) < NEAR
    if wanted:
        assert apart(patterns(run)[0], truth(made, inputs)) < NEAR
    else:
        assert not visible(run)[..., :QUERIES][..., ~torch.ones(QUERIES, QUERIES).tril().bool().numpy()].any()
        if not options:
            assert apart(mixed(made, patterns(run)[0], x), own) < NEAR
        else:
            assert not visible(run)[..., QUERIES:].any()


def mixed(made: nn.MultiheadAttention, weights: Any, value: torch.Tensor) -> torch.Tensor:
    return one_head_less(made, torch.tensor(weights), value, head=-1)


def test_the_function_is_heard_without_the_module() -> None:
    made = attention()

    def direct(query: torch.Tensor, key: torch.Tensor) -> Any:
        return functional.multi_head_attention_forward(
            query, key, key, WIDTH, HEADS, made.in_proj_weight, made.in_proj_bias, None, None, False, 0.0,
            made.out_proj.weight, made.out_proj.bias, training=False, need_weights=False,
        )[0]  # fmt: skip

    query, key = tokens(QUERIES, first=False), tokens(KEYS, first=False, seed=1)
    run = ran(Calls(direct), (query, key))
    assert apart(patterns(run)[0], truth(made, {"query": query, "key": key, "value": key})) < NEAR


@pytest.mark.parametrize("head", range(HEADS))
@pytest.mark.parametrize("wanted", [True, False])
def test_a_silenced_head_is_zero_before_the_output_projection(head: int, wanted: bool) -> None:
    made = attention(batch_first=True)
    x, key = tokens(QUERIES), tokens(KEYS, seed=1)
    inputs = {
        "query": x,
        "key": key,
        "value": key,
        "attn_mask": mask("float 2-D", QUERIES, KEYS),
        "need_weights": wanted,
    }
    run = ran(made, inputs)
    expected = one_head_less(made, truth(made, inputs), key, head)
    assert apart(silenced(run, 0, head), expected.detach()) < NEAR
    assert apart(run.output, one_head_less(made, truth(made, inputs), key, head=-1).detach()) < NEAR


def test_a_row_that_sees_nothing_is_what_torch_makes_of_it() -> None:
    made = attention(batch_first=True)
    x = tokens(QUERIES)
    inputs = {"query": x, "key": x, "value": x, "key_padding_mask": torch.tensor([[False] * 4, [True] * 4])}
    run = ran(made, inputs)
    assert not visible(run)[1].any()
    assert apart(patterns(run)[0][0], truth(made, inputs)[0]) < NEAR


def test_a_single_token_of_several_rows_is_not_one_row() -> None:
    made = attention()
    x = tokens(1, first=False)
    assert patterns(ran(made, (x, x, x)))[0].shape == (ROWS, HEADS, 1, 1)


@given(
    heads=some.integers(1, 4),
    rows=some.integers(1, 3),
    queries=some.integers(1, 5),
    keys=some.integers(1, 5),
    first=some.booleans(),
    causal=some.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_shape_is_heard_as_the_module_says_it(
    heads: int, rows: int, queries: int, keys: int, first: bool, causal: bool
) -> None:
    torch.manual_seed(heads)
    made = nn.MultiheadAttention(heads * 2, heads, batch_first=first).eval()
    inputs = {
        "query": tokens(queries, heads * 2, rows=rows, first=first),
        "key": tokens(keys, heads * 2, rows=rows, first=first, seed=1),
        "value": tokens(keys, heads * 2, rows=rows, first=first, seed=2),
    }
    if causal:
        inputs["attn_mask"] = torch.ones(queries, keys, dtype=torch.bool).triu(1)
    assert apart(patterns(ran(made, inputs))[0], truth(made, inputs)) < NEAR
