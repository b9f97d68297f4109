"""scaled_dot_product_attention, beside a loop a novice would write and the output of the call itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch.nn import functional

from tests.own_modules import NEAR, Calls, apart, patterns, ran, silenced, visible

ROWS, HEADS, QUERIES, KEYS, WIDTH = 2, 4, 5, 6, 3


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def looped(query: Any, key: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None) -> Any:
    """Weights [row, head, query, key] one number at a time; a head reads the key head of its group."""
    query, key = query.double().numpy(), key.double().numpy()
    rows, heads, queries, width = query.shape
    groups, keys = heads // key.shape[1], key.shape[2]
    handed = None if mask is None else np.broadcast_to(mask.numpy(), (rows, heads, queries, keys))
    weights = np.zeros((rows, heads, queries, keys))
    for row, head, asking in np.ndindex(rows, heads, queries):
        scores = np.full(keys, -np.inf)
        for place in range(keys):
            if causal and place > asking:
                continue
            score = query[row, head, asking] @ key[row, head // groups, place]
            score *= 1 / math.sqrt(width) if scale is None else scale
            if handed is None:
                scores[place] = score
            elif handed.dtype == bool:
                scores[place] = score if handed[row, head, asking, place] else -np.inf
            else:
                scores[place] = score + handed[row, head, asking, place]
        if np.isfinite(scores).any():
            shifted = np.exp(scores - scores.max())
            weights[row, head, asking] = shifted / shifted.sum()
    return weights


def fused(**options: Any) -> Calls:
    return Calls(lambda query, key, value: functional.scaled_dot_product_attention(query, key, value, **options))


def inputs(
    key_heads: int = HEADS, queries: int = QUERIES, keys: int = KEYS
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        numbers(ROWS, HEADS, queries, WIDTH),
        numbers(ROWS, key_heads, keys, WIDTH, seed=1),
        numbers(ROWS, key_heads, keys, WIDTH, seed=2),
    )


def some_cells(*shape: int) -> torch.Tensor:
    seen = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.6
    seen[..., 0] = True
    return seen


MASKS = {
    "none": None,
    "cells of a query and key": some_cells(QUERIES, KEYS),
    "cells of a row": some_cells(ROWS, 1, 1, KEYS),
    "cells of a head": some_cells(1, HEADS, QUERIES, KEYS),
    "cells of each": some_cells(ROWS, HEADS, QUERIES, KEYS),
    "floats": torch.zeros(QUERIES, KEYS).masked_fill(~some_cells(QUERIES, KEYS), -torch.inf) + numbers(QUERIES, KEYS),
    "floats of a head": numbers(1, HEADS, QUERIES, KEYS, seed=5),
}


@pytest.mark.parametrize("scale", [None, 0.3, 0.0])
@pytest.mark.parametrize("kind", MASKS)
def test_weights_are_those_of_a_loop_and_make_the_output_of_the_call(kind: str, scale: float | None) -> None:
    given_, mask = inputs(), MASKS[kind]
    run = ran(fused(attn_mask=mask, scale=scale), given_)
    expected = looped(*given_[:2], mask, scale=scale)
    assert apart(patterns(run)[0], expected) < NEAR
    assert (visible(run) == (expected > 0)).all()
    output = functional.scaled_dot_product_attention(*given_, attn_mask=mask, scale=scale)
    assert apart(torch.tensor(patterns(run)[0]) @ given_[2], output) < NEAR


@pytest.mark.parametrize("keys", [QUERIES, KEYS + 2, 3])
def test_the_causal_flag_begins_top_left(keys: int) -> None:
    given_ = inputs(keys=keys)
    run = ran(fused(is_causal=True), given_)
    assert apart(patterns(run)[0], looped(*given_[:2], causal=True)) < NEAR
    assert (np.broadcast_to(visible(run), (ROWS, 1, QUERIES, keys)) == np.tril(np.ones((QUERIES, keys), bool))).all()


@pytest.mark.parametrize("key_heads", [1, 2])
@pytest.mark.parametrize("mask", [None, MASKS["cells of each"]])
def test_heads_of_a_group_read_one_key_head(key_heads: int, mask: Any) -> None:
    given_ = inputs(key_heads)
    run = ran(fused(enable_gqa=True, attn_mask=mask), given_)
    assert apart(patterns(run)[0], looped(*given_[:2], mask)) < NEAR
    assert (run.trace.calls[0].heads, run.trace.calls[0].key_heads) == (HEADS, key_heads)


def test_dropout_is_none_of_the_weights() -> None:
    given_ = inputs()

    class Dropping(torch.nn.Module):
        def forward(self, query: Any, key: Any, value: Any) -> Any:
            return functional.scaled_dot_product_attention(query, key, value, dropout_p=0.5 if self.training else 0.0)

    run = ran(Dropping(), given_)
    assert apart(patterns(run)[0], looped(*given_[:2])) < NEAR
    assert run.trace.drift == 0.0
    always = ran(fused(dropout_p=0.5), given_)  # it drops in evaluation, too: the same numbers are drawn twice
    assert apart(patterns(always)[0], looped(*given_[:2])) < NEAR
    assert always.trace.drift == 0.0


def test_a_row_that_sees_nothing_is_zero_as_torch_has_it() -> None:
    given_, mask = inputs(), torch.ones(ROWS, 1, QUERIES, KEYS, dtype=torch.bool)
    mask[1, :, 2] = False
    run = ran(fused(attn_mask=mask), given_)
    assert apart(patterns(run)[0], looped(*given_[:2], mask)) < NEAR
    assert not patterns(run)[0][1, :, 2].any() and not visible(run)[1, :, 2].any()
    output = functional.scaled_dot_product_attention(*given_, attn_mask=mask)
    assert apart(torch.tensor(patterns(run)[0]) @ given_[2], output.nan_to_num(0.0)) < NEAR


def test_three_axes_are_rows_and_heads_in_one_where_the_module_says_its_heads() -> None:
    given_ = inputs()
    flat: Any = tuple(one.flatten(0, 1) for one in given_)
    said = Calls(lambda x, *more: functional.scaled_dot_product_attention(*more) + 0 * x.sum(), heads=HEADS)
    run = ran(said, (torch.zeros(ROWS, QUERIES), *flat))
    assert apart(patterns(run)[0], looped(*given_[:2])) < NEAR
    assert not run.trace.notes
    # Nothing says it: one reading is taken and said, and an argument decides.
    unsaid = Calls(functional.scaled_dot_product_attention)
    assert patterns(ran(unsaid, flat))[0].shape == (ROWS * HEADS, 1, QUERIES, KEYS)
    run = ran(unsaid, flat, rows=ROWS)
    assert apart(patterns(run)[0], looped(*given_[:2])) < NEAR
    said_else = "num_heads= says otherwise"
    assert run.trace.notes == (f"an attention: 4 of weights (8, 5, 6) are read as heads; {said_else}",)
    assert apart(patterns(ran(unsaid, flat, rows=ROWS, heads=HEADS))[0], looped(*given_[:2])) < NEAR


def test_two_axes_are_one_head_of_one_row() -> None:
    query, key, value = (one[0, 0] for one in inputs())
    run = ran(Calls(functional.scaled_dot_product_attention), (query, key, value), rows=1)
    assert apart(patterns(run)[0][0, 0], looped(query[None, None], key[None, None])[0, 0]) < NEAR


def nested(lengths: tuple[int, ...], seed: int, layout: torch.layout) -> torch.Tensor:
    parts = [numbers(length, HEADS * WIDTH, seed=seed + place) for place, length in enumerate(lengths)]
    made: torch.Tensor = torch.nested.nested_tensor(parts, layout=layout)
    return made


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.jagged, torch.strided], ids=["jagged", "strided"])
def test_rows_of_a_nested_tensor_are_padded_and_each_is_its_own_loop(layout: torch.layout) -> None:
    lengths = (3, 5, 2)

    def attend(x: torch.Tensor) -> torch.Tensor:
        strided = layout is torch.strided
        heads = x.reshape(len(lengths), -1, HEADS, WIDTH) if strided else x.view(len(lengths), -1, HEADS, WIDTH)
        heads = heads.transpose(1, 2).contiguous() if strided else heads.transpose(1, 2)
        return functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2)

    x = nested(lengths, 0, layout)
    run = ran(Calls(attend), x)
    for row, part in enumerate(x.unbind()):
        length = lengths[row]
        heads = part.reshape(length, HEADS, WIDTH).transpose(0, 1)[None]
        assert apart(patterns(run)[0][row, :, :length, :length], looped(heads, heads)[0]) < NEAR
        assert not patterns(run)[0][row, :, :length, length:].any()
    assert run.trace.batch.keep.sum(1).tolist() == list(lengths)
    assert run.output is not None
    expected = run.output.clone()  # [row, token, head, width]
    expected[:, :, 1] = 0
    assert apart(silenced(run, 0, 1), expected) < NEAR


@pytest.mark.parametrize("head", range(HEADS))
@pytest.mark.parametrize("key_heads", [HEADS, 2])
def test_a_silenced_head_puts_out_nothing(head: int, key_heads: int) -> None:
    given_, project = inputs(key_heads), numbers(HEADS * WIDTH, 7, seed=9)

    class Projected(torch.nn.Module):
        def forward(self, query: Any, key: Any, value: Any) -> Any:
            mixed = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
            return mixed.transpose(1, 2).flatten(2) @ project

    run = ran(Projected(), given_)
    weights = torch.tensor(looped(*given_[:2])).float()
    mixed = weights @ given_[2].repeat_interleave(HEADS // key_heads, 1)
    mixed[:, head] = 0
    assert apart(silenced(run, 0, head), mixed.transpose(1, 2).flatten(2) @ project) < 1e-5


def test_a_silenced_head_among_rows_and_heads_in_one_axis_puts_out_nothing_in_any_row() -> None:
    given_ = inputs()
    flat: Any = tuple(one.flatten(0, 1) for one in given_)
    run = ran(Calls(functional.scaled_dot_product_attention), flat, rows=ROWS, heads=HEADS)
    expected = functional.scaled_dot_product_attention(*given_)
    expected[:, 1] = 0
    assert apart(silenced(run, 0, 1), expected.flatten(0, 1)) < NEAR


@pytest.mark.parametrize("kind", ["causal_upper_left", "causal_lower_right"])
def test_a_causal_bias_that_is_an_object_says_where_its_triangle_ends(kind: str) -> None:
    from torch.nn.attention import bias

    made, given_ = getattr(bias, kind)(2, KEYS), inputs(queries=2)
    cells = torch.ones(2, KEYS).tril(0 if kind == "causal_upper_left" else KEYS - 2).bool()
    run = ran(fused(attn_mask=made), given_)
    assert apart(patterns(run)[0], looped(*given_[:2], cells)) < NEAR
    assert (np.broadcast_to(visible(run), (ROWS, 1, 2, KEYS)) == cells.numpy()).all()


def test_the_operation_behind_the_function_is_heard_where_it_is_called_itself() -> None:
    run = ran(Calls(torch.ops.aten.scaled_dot_product_attention), inputs())
    assert apart(patterns(run)[0], looped(*inputs()[:2])) < NEAR


def test_half_precision_is_read_in_full() -> None:
    given_: Any = tuple(one.bfloat16() for one in inputs())
    run = ran(fused(), given_)
    assert apart(patterns(run)[0], looped(*(one.float() for one in given_[:2]))) < NEAR


@given(
    rows=some.integers(1, 3),
    groups=some.integers(1, 3),
    key_heads=some.integers(1, 3),
    queries=some.integers(1, 5),
    keys=some.integers(1, 5),
    causal=some.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_is_heard_as_the_loop_has_it(
    rows: int, groups: int, key_heads: int, queries: int, keys: int, causal: bool
) -> None:
    query = numbers(rows, groups * key_heads, queries, WIDTH)
    key = numbers(rows, key_heads, keys, WIDTH, seed=1)
    run = ran(fused(is_causal=causal, enable_gqa=True), (query, key, key))
    assert apart(patterns(run)[0], looped(query, key, causal=causal)) < NEAR
