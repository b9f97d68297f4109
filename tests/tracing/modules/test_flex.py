"""flex_attention, beside its functions evaluated one cell at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from tests.own_modules import NEAR, Calls, apart, patterns, ran, silenced, visible

ROWS, HEADS, LENGTH, WIDTH = 2, 4, 8, 16

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def causal(batch: Any, head: Any, query: Any, key: Any) -> Any:
    return query >= key


def of_row(batch: Any, head: Any, query: Any, key: Any) -> Any:
    return key < LENGTH - 3 * batch


def of_head(batch: Any, head: Any, query: Any, key: Any) -> Any:
    return abs(query - key) <= head


def further_is_less(score: Any, batch: Any, head: Any, query: Any, key: Any) -> Any:
    return score - 0.1 * (head + 1) * abs(query - key)


def blocking(score: Any, batch: Any, head: Any, query: Any, key: Any) -> Any:
    return torch.where(query >= key, score, -math.inf)


def dense(query: Any, key: Any, mask: Callable[..., Any] | None, score: Callable[..., Any] | None) -> Any:
    """Weights [row, head, query, key], one cell at a time."""
    rows, heads, queries, width = query.shape
    groups = heads // key.shape[1]
    scores = np.full((rows, heads, queries, key.shape[2]), -np.inf)
    for row, head, asking, place in np.ndindex(scores.shape):
        where = tuple(torch.tensor(one) for one in (row, head, asking, place))
        if mask is not None and not mask(*where):
            continue
        found = query[row, head, asking].double() @ key[row, head // groups, place].double() / math.sqrt(width)
        scores[row, head, asking, place] = found if score is None else score(found, *where)
    shifted = np.exp(scores - scores.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def flexed(mask: Callable[..., Any] | None, score: Callable[..., Any] | None, attend: Any = flex_attention) -> Calls:
    blocks = None if mask is None else create_block_mask(mask, ROWS, HEADS, LENGTH, LENGTH, device="cpu")
    return Calls(
        lambda query, key, value: attend(
            query, key, value, score_mod=score, block_mask=blocks, enable_gqa=query.shape[1] != key.shape[1]
        )
    )


def inputs(key_heads: int = HEADS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        numbers(ROWS, HEADS, LENGTH, WIDTH),
        numbers(ROWS, key_heads, LENGTH, WIDTH, seed=1),
        numbers(ROWS, key_heads, LENGTH, WIDTH, seed=2),
    )


@pytest.mark.parametrize("score", [None, further_is_less], ids=["", "score_mod"])
@pytest.mark.parametrize("mask", [None, causal, of_row, of_head])
def test_masks_and_scores_are_evaluated_in_every_cell(mask: Any, score: Any) -> None:
    given, expected = inputs(), dense(*inputs()[:2], mask, score)
    run = ran(flexed(mask, score), given)
    assert apart(patterns(run)[0], expected) < NEAR
    assert (np.broadcast_to(visible(run), expected.shape) == (expected > 0)).all()
    assert run.output is not None
    assert apart(run.output, torch.tensor(expected).float() @ given[2]) < 1e-5


def test_a_score_of_minus_infinity_blocks_as_a_mask_does() -> None:
    run = ran(flexed(None, blocking), inputs())
    assert (np.broadcast_to(visible(run), (ROWS, 1, LENGTH, LENGTH)) == np.tril(np.ones((LENGTH, LENGTH), bool))).all()


@pytest.mark.parametrize("key_heads", [1, 2])
def test_heads_of_a_group_read_one_key_head(key_heads: int) -> None:
    run = ran(flexed(causal, None), inputs(key_heads))
    assert apart(patterns(run)[0], dense(*inputs(key_heads)[:2], causal, None)) < NEAR
    assert run.trace.calls[0].key_heads == key_heads


def test_a_causal_mod_is_read_as_the_rule() -> None:
    run = ran(flexed(causal, None), inputs())
    assert "causal" in str(run.trace.calls[0].mask.rule)


def test_compiled_it_is_run_as_it_is_written() -> None:
    given = inputs()
    run = ran(flexed(causal, further_is_less, torch.compile(flex_attention)), given)
    assert apart(patterns(run)[0], dense(*given[:2], causal, further_is_less)) < NEAR


@pytest.mark.filterwarnings("ignore:return_lse is deprecated:FutureWarning")
def test_a_caller_that_wants_more_than_the_output_gets_it() -> None:
    got = []

    def attend(query: Any, key: Any, value: Any) -> Any:
        output, sums = flex_attention(query, key, value, return_lse=True)
        got.append(sums)
        return output

    run = ran(Calls(attend), inputs())
    assert len(run.trace.calls) == 1
    plain, listened = got
    query, key, _ = inputs()
    assert apart(plain, (query @ key.mT / math.sqrt(WIDTH)).logsumexp(-1)) < 1e-5
    assert apart(plain, listened) < NEAR


@pytest.mark.parametrize("head", range(HEADS))
def test_a_silenced_head_puts_out_nothing(head: int) -> None:
    given, project = inputs(2), numbers(HEADS * WIDTH, 7, seed=9)
    attend = flexed(of_row, None)
    run = ran(Calls(lambda *tensors: attend(*tensors).transpose(1, 2).flatten(2) @ project), given)
    mixed = torch.tensor(dense(*given[:2], of_row, None)).float() @ given[2].repeat_interleave(2, 1)
    mixed[:, head] = 0
    assert apart(silenced(run, 0, head), mixed.transpose(1, 2).flatten(2) @ project) < 2e-5
