"""Attention written by hand, beside the probabilities it computed itself; and what is none, which is not heard."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn
from torch.nn import functional

from maskviz.core.errors import CannotTraceError
from maskviz.core.run.trace import ModelCard
from maskviz.tracing.modules.reading import Known
from maskviz.tracing.modules.run import run_module
from maskviz.tracing.modules.subjects import TorchSubject
from tests.own_modules import NEAR, Calls, apart, patterns, ran, silenced, visible

ROWS, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 4, 5, 6


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Queries [row, head, query, width], keys and values of as many heads.
QUERY, KEY, VALUE = (
    numbers(ROWS, HEADS, QUERIES, WIDTH),
    numbers(ROWS, HEADS, KEYS, WIDTH, seed=1),
    numbers(ROWS, HEADS, KEYS, WIDTH, seed=2),
)
CELLS = torch.rand(ROWS, 1, QUERIES, KEYS, generator=torch.Generator().manual_seed(3)) < 0.6
CELLS[..., 0] = True


def truth(cells: Any = None) -> torch.Tensor:
    scores = QUERY @ KEY.mT / math.sqrt(WIDTH)
    return (scores if cells is None else scores.masked_fill(~cells, -torch.inf)).softmax(-1)


def matmul(query: Any, key: Any, value: Any) -> Any:
    weights = torch.softmax(torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(WIDTH), dim=-1)
    return torch.matmul(weights, value)


def operators(query: Any, key: Any, value: Any) -> Any:
    return (query @ key.mT * WIDTH**-0.5).softmax(-1) @ value


def letters(query: Any, key: Any, value: Any) -> Any:
    weights = functional.softmax(torch.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(WIDTH), -1)
    return torch.einsum("bhqk,bhkd->bhqd", weights, value)


def tokens_before_heads(query: Any, key: Any, value: Any) -> Any:
    query, key, value = (one.transpose(1, 2) for one in (query, key, value))
    weights = torch.einsum("bqhd,bkhd->bhqk", query, key).div(math.sqrt(WIDTH)).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, value).transpose(1, 2)


def dots(query: Any, key: Any, value: Any) -> Any:
    weights = torch.softmax(torch.einsum("...qd,...kd->...qk", query, key) / math.sqrt(WIDTH), dim=-1)
    return torch.einsum("...qk,...kd->...qd", weights, value)


def a_list_of_operands(query: Any, key: Any, value: Any) -> Any:
    weights = torch.einsum("b h i d, b h j d -> b h i j", [query, key]).div(math.sqrt(WIDTH)).softmax(-1)
    return torch.einsum("b h i j, b h j d -> b h i d", [weights, value])


def keys_before_queries(query: Any, key: Any, value: Any) -> Any:
    weights = torch.softmax(torch.einsum("bhkd,bhqd->bhkq", key, query) / math.sqrt(WIDTH), dim=2)
    return torch.einsum("bhkq,bhkd->bhqd", weights, value)


def values_first(query: Any, key: Any, value: Any) -> Any:
    weights = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1)
    return (value.mT @ weights.mT).mT


def heads_last(query: Any, key: Any, value: Any) -> Any:
    weights = torch.einsum("bhqd,bhkd->bqkh", query, key).div(math.sqrt(WIDTH)).softmax(2)
    return torch.einsum("bqkh,bhkd->bhqd", weights, value)


def step_by_step(query: Any, key: Any, value: Any) -> Any:
    """The same with everything between softmax and values that people put there."""
    scores = (query * WIDTH**-0.5) @ key.transpose(-1, -2)
    scores = scores - scores.amax(dim=-1, keepdim=True)
    weights = nn.functional.dropout(nn.Softmax(dim=-1)(scores.float()), 0.1, training=False)
    return weights.to(value.dtype).contiguous().matmul(value)


def logarithm(query: Any, key: Any, value: Any) -> Any:
    scores = torch.log_softmax(query @ key.mT / math.sqrt(WIDTH), -1)
    return scores.exp() @ value


def powers(query: Any, key: Any, value: Any) -> Any:
    scores = query @ key.mT / math.sqrt(WIDTH)
    raised = torch.exp(scores - scores.max(-1, keepdim=True).values)
    return (raised / raised.sum(-1, keepdim=True)) @ value


def powers_in_place(query: Any, key: Any, value: Any) -> Any:
    raised = (query @ key.mT / math.sqrt(WIDTH)).exp_()
    raised /= raised.sum(-1, keepdim=True)
    return raised @ value


WAYS = [
    *(matmul, operators, letters, tokens_before_heads, dots, a_list_of_operands),
    *(keys_before_queries, values_first, heads_last, step_by_step, logarithm, powers, powers_in_place),
]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_it_is_heard_with_the_probabilities_it_computes(way: Callable[..., Any]) -> None:
    run = ran(Calls(way), (QUERY, KEY, VALUE), heads=HEADS)
    assert len(run.trace.calls) == 1
    assert apart(patterns(run)[0], truth()) < NEAR
    assert run.trace.drift == 0.0
    assert run.output is not None and apart(run.output, truth() @ VALUE) < NEAR


@pytest.mark.parametrize("head", range(HEADS))
@pytest.mark.parametrize("way", WAYS)
def test_a_silenced_head_puts_out_nothing_in_every_way_to_write_it(way: Callable[..., Any], head: int) -> None:
    project = numbers(HEADS * WIDTH, 7, seed=9)
    block = Calls(lambda *given_: way(*given_).transpose(1, 2).flatten(2) @ project, heads=HEADS)
    mixed = truth() @ VALUE
    mixed[:, head] = 0
    expected = mixed.transpose(1, 2).flatten(2) @ project
    assert apart(silenced(ran(block, (QUERY, KEY, VALUE)), 0, head), expected) < 1e-5


def filled(scores: Any, cells: Any) -> Any:
    return scores.masked_fill(~cells, -torch.inf)


def filled_in_place(scores: Any, cells: Any) -> Any:
    scores.masked_fill_(~cells, torch.finfo(scores.dtype).min)
    return scores


def chosen(scores: Any, cells: Any) -> Any:
    return torch.where(cells, scores, torch.tensor(-1e9))


def added(scores: Any, cells: Any) -> Any:
    return scores + torch.zeros(cells.shape).masked_fill(~cells, -1e9)


def added_in_place(scores: Any, cells: Any) -> Any:
    scores += torch.zeros(cells.shape).masked_fill(~cells, -torch.inf)
    return scores


def indexed(scores: Any, cells: Any) -> Any:
    scores[~cells.expand_as(scores)] = -torch.inf
    return scores


@pytest.mark.parametrize("way", [filled, filled_in_place, chosen, added, added_in_place, indexed])
def test_every_way_to_mask_is_read_as_the_cells_it_leaves(way: Callable[..., Any]) -> None:
    def attend(query: Any, key: Any, value: Any, cells: Any) -> Any:
        return way(query @ key.mT / math.sqrt(WIDTH), cells).softmax(-1) @ value

    run = ran(Calls(attend), (QUERY, KEY, VALUE, CELLS))
    assert apart(patterns(run)[0], truth(CELLS)) < NEAR
    assert (visible(run) == CELLS.numpy()).all()


def test_a_mask_that_baddbmm_adds_is_read_as_one() -> None:
    added_cells = torch.zeros(CELLS.shape).masked_fill(~CELLS, -torch.inf).expand(-1, HEADS, -1, -1)

    def attend(query: Any, key: Any, value: Any) -> Any:
        flat = (one.flatten(0, 1) for one in (query, key, value))
        query, key, value = flat
        scores = torch.baddbmm(added_cells.flatten(0, 1), query, key.mT, alpha=1 / math.sqrt(WIDTH))
        return torch.bmm(scores.softmax(-1), value)

    run = ran(Calls(attend, heads=HEADS), (QUERY, KEY, VALUE))
    assert apart(patterns(run)[0], truth(CELLS)) < NEAR
    assert (visible(run) == CELLS.numpy()).all()


def test_weights_set_to_zero_after_the_softmax_are_not_visible() -> None:
    def attend(query: Any, key: Any, value: Any) -> Any:
        weights = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1) * CELLS
        return (weights / weights.sum(-1, keepdim=True)) @ value

    run = ran(Calls(attend), (QUERY, KEY, VALUE))
    assert apart(patterns(run)[0], truth(CELLS)) < NEAR
    assert (visible(run) == CELLS.numpy()).all()


def test_three_axes_are_one_head_or_those_the_module_says() -> None:
    flat = tuple(one.flatten(0, 1) for one in (QUERY, KEY, VALUE))
    alone = ran(Calls(operators), tuple(one[:, 0] for one in (QUERY, KEY, VALUE)))
    assert apart(patterns(alone)[0], truth()[:, :1]) < NEAR
    said = Calls(lambda x, *more: operators(*more), heads=HEADS)
    assert apart(patterns(ran(said, (torch.zeros(ROWS, 1), *flat)))[0], truth()) < NEAR
    assert apart(patterns(ran(Calls(operators), flat, rows=ROWS, heads=HEADS))[0], truth()) < NEAR


@pytest.mark.parametrize("key_heads", [1, 2])
def test_five_axes_are_key_heads_and_the_query_heads_of_each(key_heads: int) -> None:
    groups = 2
    query = numbers(ROWS, key_heads, groups, QUERIES, WIDTH)
    key, value = (numbers(ROWS, key_heads, 1, KEYS, WIDTH, seed=seed) for seed in (1, 2))

    def attend(query: Any, key: Any, value: Any) -> Any:
        return (query @ key.mT / math.sqrt(WIDTH)).softmax(-1) @ value

    for way in (attend, lambda q, k, v: _of_groups(q, k[:, :, 0], v[:, :, 0])):
        run = ran(Calls(way), (query, key, value))
        expected = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1).flatten(1, 2)
        assert apart(patterns(run)[0], expected) < NEAR
        assert (run.trace.calls[0].heads, run.trace.calls[0].key_heads) == (key_heads * groups, key_heads)
        mixed = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1) @ value
        mixed[:, -1, -1] = 0
        assert apart(silenced(run, 0, key_heads * groups - 1), mixed) < NEAR


def _of_groups(query: Any, key: Any, value: Any) -> Any:
    weights = torch.einsum("bkgqd,bksd->bkgqs", query, key).div(math.sqrt(WIDTH)).softmax(-1)
    return torch.einsum("bkgqs,bksd->bkgqd", weights, value)


def test_windows_behind_heads_stand_one_after_the_other() -> None:
    """[row * head, window, query, width], as halo attention has it."""
    windows = 4
    query, key, value = (numbers(ROWS * HEADS, windows, length, WIDTH, seed=length) for length in (2, 3, 3))
    said = Calls(lambda x, *more: operators(*more), heads=HEADS)
    run = ran(said, (torch.zeros(ROWS, 1), query, key, value))
    weights = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1).reshape(ROWS, HEADS, windows, 2, 3)
    expected = torch.zeros(ROWS, HEADS, windows * 2, windows * 3)
    for window in range(windows):
        expected[:, :, window * 2 : window * 2 + 2, window * 3 : window * 3 + 3] = weights[:, :, window]
    assert apart(patterns(run)[0], expected) < NEAR
    assert (visible(run) == (expected[:, :1] > 0).numpy()).all()
    mixed = (weights @ value.reshape(ROWS, HEADS, windows, 3, WIDTH)).clone()
    mixed[:, 1] = 0
    assert apart(silenced(run, 0, 1), mixed.reshape(ROWS * HEADS, windows, 2, WIDTH)) < NEAR


class Talking(nn.Module):
    """Heads that talk before the softmax, and after it, in one of the ways people write it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way, self.num_heads = way, HEADS
        self.tables = nn.ParameterList([nn.Parameter(torch.rand(HEADS, HEADS)) for _ in range(2)])

    def talk(self, which: int, maps: torch.Tensor) -> torch.Tensor:
        table = self.tables[which]
        if self.way == "linear":
            return functional.linear(maps.permute(0, 2, 3, 1), table).permute(0, 3, 1, 2)
        if self.way == "convolution":
            return functional.conv2d(maps, table[:, :, None, None])
        return torch.einsum("bhij,gh->bgij", maps, table)

    def forward(self, query: Any, key: Any, value: Any) -> Any:
        weights = self.talk(1, self.talk(0, query @ key.mT / math.sqrt(WIDTH)).softmax(-1))
        return weights @ value


@pytest.mark.parametrize("way", ["linear", "convolution", "einsum"])
def test_heads_that_talk_are_heard_as_what_the_values_are_mixed_with(way: str) -> None:
    module = Talking(way)
    run = ran(module, (QUERY, KEY, VALUE))
    with torch.no_grad():
        first, second = (one.detach() for one in module.tables)
        scores = torch.einsum("bhij,gh->bgij", QUERY @ KEY.mT / math.sqrt(WIDTH), first)
        expected = torch.einsum("bhij,gh->bgij", scores.softmax(-1), second)
    assert apart(patterns(run)[0], expected) < NEAR
    assert run.trace.notes == ("an attention: its heads are mixed after the softmax, so that a row does not sum to 1",)
    mixed = expected @ VALUE
    mixed[:, 2] = 0
    assert apart(silenced(run, 0, 2), mixed) < 1e-5


def _clamped(scores: torch.Tensor, most: float) -> torch.Tensor:
    return torch.tanh(scores / most) * most


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch.jit is on its way out
    clamped = torch.jit.script(_clamped)


class Clamping(nn.Module):
    """Calls a function of its own file that torch.jit has scripted."""

    def forward(self, query: Any, key: Any, value: Any) -> Any:
        return clamped(query @ key.mT / math.sqrt(WIDTH), 2.0).softmax(-1) @ value


def test_scripted_functions_of_a_module_s_file_run_as_they_are_written() -> None:
    run = ran(Clamping(), (QUERY, KEY, VALUE))
    assert apart(patterns(run)[0], _clamped(QUERY @ KEY.mT / math.sqrt(WIDTH), 2.0).softmax(-1)) < NEAR
    assert isinstance(clamped, torch.jit.ScriptFunction)  # it is afterwards as it was


class Softmax(torch.autograd.Function):
    """A softmax with a gradient of its own."""

    @staticmethod
    def forward(context: Any, scores: torch.Tensor) -> torch.Tensor:
        context.mark_non_differentiable()
        return scores.softmax(-1)


applied: Any = Softmax.apply


def test_a_function_with_a_gradient_of_its_own_is_heard_inside() -> None:
    def attend(query: Any, key: Any, value: Any) -> Any:
        return applied(query @ key.mT / math.sqrt(WIDTH)) @ value

    assert apart(patterns(ran(Calls(attend), (QUERY, KEY, VALUE)))[0], truth()) < NEAR


def test_attention_inside_a_map_over_rows_is_refused_in_plain_words() -> None:
    def one_row(x: Any) -> Any:
        return (x @ x.mT).softmax(-1) @ x

    def fused(x: Any) -> Any:
        return functional.scaled_dot_product_attention(x, x, x)

    for attend in (one_row, fused):
        with pytest.raises(CannotTraceError, match=r"attention inside torch\.vmap, where no number can be read"):
            ran(Calls(torch.vmap(attend)), X)


def test_a_product_that_is_written_to_a_tensor_of_its_own_is_one() -> None:
    def attend(query: Any, key: Any, value: Any) -> Any:
        scores = torch.matmul(query, key.mT, out=torch.empty(ROWS, HEADS, QUERIES, KEYS)) / math.sqrt(WIDTH)
        return torch.matmul(scores.softmax(-1), value, out=torch.empty(ROWS, HEADS, QUERIES, WIDTH))

    assert apart(patterns(ran(Calls(attend), (QUERY, KEY, VALUE)))[0], truth()) < NEAR


class Lambdas(nn.Module):
    """Two layers in which keys have a softmax over tokens and are mixed with values first, convolutions around."""

    def __init__(self) -> None:
        super().__init__()
        self.of = nn.ModuleList([nn.Conv1d(WIDTH, 3 * WIDTH, 1) for _ in range(2)])

    def forward(self, x: Any) -> Any:
        for layer in self.of:
            query, key, value = layer(x.mT).chunk(3, 1)
            x = functional.relu(query.mT @ (key.softmax(-1) @ value.mT))
        return x


def test_one_row_without_a_batch_is_heard() -> None:
    run = ran(Calls(operators), (QUERY[0], KEY[0], VALUE[0]), rows=1, heads=HEADS)
    assert apart(patterns(run)[0], truth()[:1]) < NEAR


X = numbers(ROWS, QUERIES, WIDTH)


class LinearAttention(nn.Module):
    """Queries and keys each through a softmax of their own: no query looks at a key."""

    def __init__(self) -> None:
        super().__init__()
        self.of = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Any) -> Any:
        query, key, value = self.of(x).chunk(3, -1)
        return query.softmax(-1) @ (key.softmax(1).mT @ value)


class Router(nn.Module):
    """Tokens go to experts by a softmax over experts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(WIDTH, 4), nn.Parameter(numbers(4, WIDTH, WIDTH))

    def forward(self, x: Any) -> Any:
        share = self.gate(x).softmax(-1)
        return torch.einsum("bne,bned->bnd", share, torch.einsum("bnd,edf->bnef", x, self.experts))


class Pooling(nn.Module):
    """One row of tokens by a softmax over what a linear map makes of each."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(WIDTH, 1)

    def forward(self, x: Any) -> Any:
        return (self.score(x).softmax(1).mT @ x)[:, 0]


class Classifier(nn.Module):
    """The last softmax of all; its table is a parameter, also where it multiplies by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(numbers(WIDTH, 9))

    def forward(self, x: Any) -> Any:
        return (x @ self.table).softmax(-1)


class Contrast(nn.Module):
    """Similarity of texts and images: products and a softmax, but no values."""

    def forward(self, x: Any) -> Any:
        return (x @ x.mT).softmax(-1)


class Codebook(nn.Module):
    """A softmax over the words of a table that is learnt, mixed from the same table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(numbers(9, WIDTH))

    def forward(self, x: Any) -> Any:
        return (x @ self.table.T).softmax(-1) @ self.table


@pytest.mark.parametrize("kind", [LinearAttention, Router, Pooling, Classifier, Contrast, Codebook, Lambdas])
def test_a_softmax_that_is_no_attention_is_not_heard(kind: type[nn.Module]) -> None:
    with pytest.raises(CannotTraceError, match=f"no attention was heard in {kind.__name__}"):
        ran(kind(), X)


@given(
    shape=some.lists(some.integers(1, 3), min_size=1, max_size=3),
    queries=some.integers(1, 4),
    keys=some.integers(1, 4),
    width=some.integers(1, 4),
    turned=some.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_leading_axes_keep_every_number(
    shape: list[int], queries: int, keys: int, width: int, turned: bool
) -> None:
    query, key = numbers(*shape, queries, width), numbers(*shape, keys, width, seed=1)
    value = numbers(*shape, keys, width, seed=2)

    def attend(query: Any, key: Any, value: Any) -> Any:
        weights = (query @ key.mT).softmax(-1)
        return (value.mT @ weights.mT).mT if turned else weights @ value

    heads = math.prod(shape[1:])
    found = patterns(ran(Calls(attend), (query, key, value), rows=shape[0], heads=heads))[0]
    expected = (query @ key.mT).softmax(-1).reshape(shape[0], heads, queries, keys)
    assert apart(found, expected) < NEAR
    assert np.isclose(found.sum(-1), 1, atol=1e-5).all()


class Windows(nn.Module):
    """Two windows of four tokens; something is added that is meant to hide half of the second from its other half."""

    def __init__(self, added: torch.Tensor) -> None:
        super().__init__()
        self.projections, self.num_heads, self.added = nn.Linear(8, 24), 2, added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = len(x)
        query, key, value = (
            part.reshape(rows * 2, 4, 2, 4).transpose(1, 2) for part in self.projections(x).split(8, -1)
        )
        scores = (query @ key.mT / 2).view(rows, 2, 2, 4, 4) + self.added[None, :, None]
        mixed: torch.Tensor = scores.view(rows * 2, 2, 4, 4).softmax(-1) @ value
        return mixed.transpose(1, 2).reshape(rows, 8, 8)


HALVES = torch.zeros(2, 4, 4, dtype=torch.bool)
HALVES[1, :2, 2:] = HALVES[1, 2:, :2] = True


@pytest.mark.parametrize("number", [-100.0, -1e9, float("-inf"), torch.finfo(torch.float32).min])
def test_what_is_added_and_leaves_nothing_of_a_weight_hides_its_key(number: float) -> None:
    """Swin adds -100."""
    module = Windows(torch.zeros(2, 4, 4).masked_fill(HALVES, number))
    known = Known(ModelCard("m", "M", "torch module", False, (), (), ()), leading=3)
    (call,) = run_module(TorchSubject(module, (torch.randn(3, 8, 8),)), known).trace.calls
    expected = np.zeros((8, 8), np.bool_)
    expected[:4, :4], expected[4:, 4:] = ~HALVES[0].numpy(), ~HALVES[1].numpy()
    assert np.array_equal(call.mask.visible[0, 0], expected)


def test_slopes_that_fall_steadily_hide_nothing() -> None:
    slopes = -25.0 * torch.arange(4).expand(2, 4, 4)
    module = Windows(slopes)
    known = Known(ModelCard("m", "M", "torch module", False, (), (), ()), leading=3)
    (call,) = run_module(TorchSubject(module, (torch.randn(3, 8, 8),)), known).trace.calls
    assert np.array_equal(call.mask.visible[0, 0], np.kron(np.eye(2), np.ones((4, 4))) > 0)
