"""Attention that is added up block by block, beside the whole pattern of the same run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from transformers import LongformerConfig, LongformerModel, MambaConfig, MambaForCausalLM
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from maskviz.core.arrays import AnyArray, FloatArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.kinds import Causal
from maskviz.core.run.long import LongCall, LongTrace, Region
from maskviz.core.run.trace import AttentionCall, Batch, Trace
from maskviz.core.words import Role, Stack, Statistic, Way
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.long.budget import check_long_fits, need_of
from maskviz.tracing.long.promised import KnownMask, Masks, RewrittenMaskError
from maskviz.tracing.long.rehearsal import RehearsedPart, sides_of
from maskviz.tracing.long.run import rehearse, stream
from maskviz.tracing.long.tally import Keeping, Tally, TilePlace, blocks_of
from maskviz.tracing.run import run
from tests.architectures import ARCHITECTURES, ENCODER_DECODERS, LEFT_PADDED, MORE
from tests.tracing.conftest import loaded_tiny, random_rows

TILE = 8
ROWS = (2, 31, 50)
REGION = Region(10, 33, 5, 41)
# Attention written out in the model's own forward, where no block of rows can be had.
BY_HAND = {"bloom", "mpt", "falcon", "deberta-v2", "xlnet", "openai-gpt", "xglm", "trocr"}
if Version(transformers.__version__) < Version("5.23"):
    BY_HAND |= {"modernbert", "t5"}
if Version(transformers.__version__) < Version("5.24"):
    BY_HAND |= {"gptj"}
# A limit of scores, sinks, relative positions: more than a softmax of masked products.
MORE_THAN_SOFTMAX = {"gemma2", "gpt_oss", "t5"}


@cache
def both(model_type: str) -> tuple[Trace, LongTrace]:
    """A padded batch, longer than a rehearsal, traced whole and streamed."""
    loaded = loaded_tiny(model_type)
    request = Request(
        ids=random_rows((61, 40, 53)),
        target_ids=random_rows((57, 60, 33), seed=1) if model_type in ENCODER_DECODERS else (),
        padding_side="left" if model_type in LEFT_PADDED else "right",
    )
    return streamed_and_traced(loaded, request)


def streamed_and_traced(loaded: Loaded, request: Request) -> tuple[Trace, LongTrace]:
    encoded = encode(loaded, request)
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    rehearsed = rehearse(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    keeping = Keeping(TILE, ROWS, REGION)
    return trace, stream(loaded.model, encoded.inputs, encoded.batch, loaded.card, keeping, rehearsed)


@pytest.fixture(params=sorted(ARCHITECTURES | MORE))
def pair(request: pytest.FixtureRequest) -> tuple[str, Trace, LongTrace]:
    return (request.param, *both(request.param))


def calls(pair: tuple[str, Trace, LongTrace]) -> list[tuple[AttentionCall, LongCall]]:
    return list(zip(pair[1].calls, pair[2].calls, strict=True))


def whole(trace: Trace, call: AttentionCall) -> FloatArray:
    """The pattern with rows of padding queries zero."""
    assert call.pattern is not None
    return call.pattern * trace.real_queries(call)[:, None, :, None]


def tiled(pattern: FloatArray) -> list[tuple[int, int, FloatArray]]:
    queries, keys = pattern.shape[2:]
    return [
        (down // TILE, across // TILE, pattern[:, :, down : down + TILE, across : across + TILE])
        for down in range(0, queries, TILE)
        for across in range(0, keys, TILE)
    ]


def test_calls_are_those_that_are_traced(pair: tuple[str, Trace, LongTrace]) -> None:
    for traced, streamed in calls(pair):
        assert (streamed.stack, streamed.layer, streamed.module) == (traced.stack, traced.layer, traced.module)
        assert (streamed.heads, streamed.key_heads) == (traced.heads, traced.key_heads)


def test_tiles_hold_the_sum_and_the_largest_of_the_pattern(pair: tuple[str, Trace, LongTrace]) -> None:
    for traced, streamed in calls(pair):
        for down, across, tile in tiled(whole(pair[1], traced)):
            np.testing.assert_allclose(streamed.sums[:, :, down, across], tile.sum((2, 3)), atol=1e-5)
            np.testing.assert_allclose(streamed.largest[:, :, down, across], tile.max((2, 3)), atol=1e-5)


def test_statistics_are_those_of_the_pattern(pair: tuple[str, Trace, LongTrace]) -> None:
    for traced, streamed in calls(pair):
        assert traced.pattern is not None
        queries, keys = pair[1].sides(traced)
        expected = naive_statistics(traced.pattern.astype(np.float64), queries, keys, traced.stack)
        assert set(expected) == set(streamed.statistics)
        for name, values in expected.items():
            np.testing.assert_allclose(streamed.statistics[name], values, atol=1e-5, rtol=1e-5, err_msg=name)


def naive_statistics(pattern: AnyArray, queries: Batch, keys: Batch, stack: Stack) -> dict[Statistic, AnyArray]:
    """Every statistic of every query, one query after the other."""
    special = np.array([[role is Role.SPECIAL for role in row] for row in keys.roles]) & keys.keep
    names = {Statistic.ENTROPY, Statistic.FIRST}
    if stack is not Stack.CROSS:
        names |= {Statistic.ITSELF, Statistic.PREVIOUS, Statistic.DISTANCE, Statistic.INDUCTION}
    names |= {Statistic.SPECIAL} if special.any() else set()
    names |= set() if keys.keep.all() else {Statistic.PADDING}
    found = {name: np.full(pattern.shape[:3], np.nan) for name in names}
    for row in range(len(pattern)):
        for query in np.flatnonzero(queries.keep[row]):
            here = naive_statistics_of_a_query(pattern[row, :, query], int(query), keys, row, special[row])
            for name in names:
                found[name][row, :, query] = here[name]
    return found


def naive_statistics_of_a_query(
    weights: AnyArray, query: int, keys: Batch, row: int, special: AnyArray
) -> dict[Statistic, AnyArray]:
    """Every statistic of weights [head, key]."""
    logs = np.log(np.where(weights > 0, weights, 1))
    ids, keep = keys.ids[row], keys.keep[row]
    after = [
        place
        for place in range(1, keys.length)
        if place <= query and keep[place - 1] and ids[place - 1] == ids[min(query, keys.length - 1)]
    ]
    place = min(query, keys.length - 1)
    return {
        Statistic.ENTROPY: -(weights * logs).sum(-1),
        Statistic.FIRST: weights[:, int(np.flatnonzero(keep)[0])],
        Statistic.ITSELF: weights[:, place],
        Statistic.PREVIOUS: weights[:, query - 1] if 0 < query <= keys.length else 0 * weights[:, 0],
        Statistic.DISTANCE: (weights * np.abs(query - np.arange(keys.length))).sum(-1),
        Statistic.INDUCTION: weights[:, after].sum(-1),
        Statistic.SPECIAL: weights[:, special].sum(-1),
        Statistic.PADDING: weights[:, ~keep].sum(-1),
    }


def test_rows_and_the_region_are_those_of_the_pattern(pair: tuple[str, Trace, LongTrace]) -> None:
    for traced, streamed in calls(pair):
        real = pair[1].real_queries(traced)
        assert traced.pattern is not None and streamed.region is not None
        for number, row in enumerate(ROWS):
            meant = real[:, row]
            np.testing.assert_allclose(
                streamed.rows[meant, :, number], traced.pattern[meant, :, row], atol=1e-5, err_msg=str(row)
            )
        down = real[:, None, REGION.queries, None]
        part = traced.pattern[:, :, REGION.queries, REGION.keys]
        np.testing.assert_allclose(streamed.region * down, part * down, atol=1e-5)


def test_the_rule_is_the_one_that_is_traced(pair: tuple[str, Trace, LongTrace]) -> None:
    for traced, streamed in calls(pair):
        assert str(streamed.rule) == str(traced.mask.rule)


def test_each_kind_of_attention_goes_the_quickest_way_that_is_its_own(pair: tuple[str, Trace, LongTrace]) -> None:
    expected = Way.LAYER if pair[0] in BY_HAND else Way.ROWS if pair[0] in MORE_THAN_SOFTMAX else Way.BLOCKS
    assert {call.way for call in pair[2].calls} == {expected}


def test_sampled_rows_are_compared_with_the_models_own_attention(pair: tuple[str, Trace, LongTrace]) -> None:
    for call in pair[2].calls:
        assert (call.difference is None) == (call.way is Way.LAYER)
        assert call.difference is None or call.difference < 1e-5


@pytest.mark.parametrize(
    ("queries", "tile", "most"), [(100, 8, 32), (100, 40, 32), (7, 8, 4), (64, 1, 16), (65, 64, 64)]
)
def test_blocks_are_whole_tiles_or_parts_of_one(queries: int, tile: int, most: int) -> None:
    blocks = blocks_of(queries, tile, most)
    assert [place for first, last in blocks for place in range(first, last)] == list(range(queries))
    for first, last in blocks:
        assert last - first <= most
        assert first // tile == (last - 1) // tile or (first % tile == 0 and (last - first) % tile == 0)


def long_of(loaded: Loaded, ids: tuple[tuple[int, ...], ...], keeping: Keeping) -> LongTrace:
    encoded = encode(loaded, Request(ids=ids))
    rehearsed = rehearse(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    return stream(loaded.model, encoded.inputs, encoded.batch, loaded.card, keeping, rehearsed)


def test_other_arithmetic_than_the_models_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskviz.tracing.long.eager_rows.EagerCall.scale", property(lambda call: 1.01 * 8**-0.5))
    long = long_of(loaded_tiny("llama"), random_rows((60,)), Keeping(TILE))
    assert {call.way for call in long.calls} == {Way.ROWS}
    np.testing.assert_allclose(long.calls[0].sums.sum((2, 3)), 60, rtol=1e-5)


def test_a_window_costs_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks reach no further than their queries see."""
    monkeypatch.setattr("maskviz.tracing.long.own_arithmetic._MOST", 8)
    monkeypatch.setattr("maskviz.tracing.long.own_arithmetic._FEWEST", 8)
    reach: list[tuple[int, int]] = []
    add = Tally.add

    def adding(tally: Tally, place: TilePlace, weights: torch.Tensor, entropy: torch.Tensor | None = None) -> None:
        reach.append((place.first_query - place.first_key, weights.shape[2]))
        add(tally, place, weights, entropy)

    monkeypatch.setattr(Tally, "add", adding)
    long_of(loaded_tiny("mistral"), random_rows((61,)), Keeping(TILE))
    assert len(reach) > 8
    assert max(behind for behind, _ in reach) <= 3
    assert max(keys for _, keys in reach) <= 3 + 8


def test_everything_is_put_back_when_the_model_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_tiny("llama")
    names = vars(sys.modules[type(loaded.model).__module__])
    before = (names["eager_attention_forward"], dict(ALL_MASK_ATTENTION_FUNCTIONS._local_mapping))

    def raising(*_: object, **__: object) -> torch.Tensor:
        raise ZeroDivisionError("out of luck")

    encoded = encode(loaded, Request(ids=random_rows((60,))))
    rehearsed = rehearse(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    monkeypatch.setattr(names["LlamaMLP"], "forward", raising)
    with pytest.raises((CannotTraceError, ZeroDivisionError), match="out of luck"):
        stream(loaded.model, encoded.inputs, encoded.batch, loaded.card, Keeping(TILE), rehearsed)
    assert before == (names["eager_attention_forward"], dict(ALL_MASK_ATTENTION_FUNCTIONS._local_mapping))
    assert loaded.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("change", [lambda mask: mask + 1, lambda mask: mask.clone()])
def test_a_model_that_calculates_with_a_stand_in_is_found_out(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    masks = Masks()
    stand_in = torch.full((), torch.nan).expand(1, 1, 5, 5)
    masks.keep(stand_in, KnownMask(Causal(), None, lambda *_: None, promised=True))
    assert masks.of(stand_in[:, :, :, :3], Lengths(5, 3)) is not None
    with pytest.raises(RewrittenMaskError):
        masks.of(change(stand_in), Lengths(5, 5))


def test_a_stand_in_that_was_written_into_is_found_out() -> None:
    masks = Masks()
    memory = torch.full((1,), torch.nan)
    stand_in = memory.expand(1, 1, 5, 5)
    masks.keep(stand_in, KnownMask(Causal(), None, lambda *_: None, promised=True))
    memory[0] = 0.0
    with pytest.raises(RewrittenMaskError):
        masks.of(stand_in, Lengths(5, 5))


def test_what_has_no_attention_or_attends_in_bands_is_refused() -> None:
    config = MambaConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2)
    bands = LongformerConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    bands.attention_window, bands.intermediate_size = [4, 4], 40
    for model, said in ((MambaForCausalLM(config), "no attention"), (LongformerModel(bands), "cannot be streamed")):
        model.train(False)
        loaded = Loaded(model, None, card_of(model.config, "tiny", type(model).__name__))
        encoded = encode(loaded, Request(ids=random_rows((7,))))
        with pytest.raises(CannotTraceError, match=said):
            rehearse(loaded.model, encoded.inputs, encoded.batch, loaded.card)


def test_only_the_wanted_layers_are_kept() -> None:
    loaded = loaded_tiny("llama")
    some = long_of(loaded, random_rows((61,)), Keeping(TILE, layers=frozenset({0, 2})))
    every = long_of(loaded, random_rows((61,)), Keeping(TILE))
    assert [call.layer for call in some.calls] == [0, 2]
    np.testing.assert_array_equal(some.calls[1].sums, every.calls[2].sums)


def test_what_a_long_run_needs_grows_with_its_text_and_not_with_its_square() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((61,))))
    rehearsed = rehearse(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    batches = [repeated(encoded.batch, times) for times in (2_000, 4_000)]
    small, large = (need_of(loaded.card, one, rehearsed, Keeping(one.length // 100)).total for one in batches)
    assert large <= 2.1 * small
    by_hand = replace(rehearsed, whole_layers=True)
    assert need_of(loaded.card, batches[0], by_hand, Keeping(1220)).squares >= 4 * 4 * batches[0].length ** 2


def repeated(batch: Batch, times: int) -> Batch:
    ids = np.tile(batch.ids, times)
    words, roles = tuple(row * times for row in batch.tokens), tuple(row * times for row in batch.roles)
    return Batch(ids, np.ones(ids.shape, np.bool_), words, roles)


def test_a_run_that_does_not_fit_says_what_would() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((61,))))
    rehearsed = rehearse(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    keeping = Keeping(1, rows=tuple(range(30)))
    total = need_of(loaded.card, encoded.batch, rehearsed, keeping).total
    assert check_long_fits(loaded.card, encoded.batch, rehearsed, keeping, total).total == total
    with pytest.raises(CannotTraceError) as refused:
        check_long_fits(loaded.card, encoded.batch, rehearsed, keeping, total - 1)
    assert refused.value.hint == "pool=30 would fit"
    smallest = need_of(loaded.card, encoded.batch, rehearsed, replace(keeping, tile=8)).total
    with pytest.raises(CannotTraceError) as refused:
        check_long_fits(loaded.card, encoded.batch, rehearsed, keeping, smallest - 100_000)
    assert refused.value.hint is not None
    assert "layers would fit, such as layer='0-" in refused.value.hint or "cut the text" in refused.value.hint


@pytest.mark.parametrize(("first", "most"), [(0, 64), (0, 5), (12, 8)])
def test_any_weights_are_added_up_as_they_are(first: int, most: int) -> None:
    """Weights that fall everywhere, on padding and special tokens too; blocks may begin behind the first key."""
    generator = np.random.default_rng(3)
    ids = generator.integers(3, 9, (2, 40))
    keep = np.ones(ids.shape, np.bool_)
    keep[1, 33:] = False
    roles = tuple(
        tuple(
            Role.PADDING if not kept else Role.SPECIAL if place % 9 == 0 else Role.TEXT
            for place, kept in enumerate(row)
        )
        for row in keep
    )
    batch = Batch(ids, keep, tuple(("w",) * 40 for _ in range(2)), roles)
    weights = generator.random((2, 3, 40, 40)).astype(np.float32) * (np.arange(40) >= first)
    weights /= weights.sum(-1, keepdims=True)
    [sides] = sides_of({("a", 0): RehearsedPart(Stack.ENCODER, 0, 3, 3)}, batch, torch.device("cpu")).values()
    tally = Tally(Keeping(TILE), sides, 3, torch.device("cpu"))
    for row in range(2):
        for start, stop in blocks_of(40, TILE, most):
            block = torch.as_tensor(weights[row, :, start:stop, first:].copy())
            tally.add(TilePlace(row, 0, start, first), block)
    kept = tally.kept([])
    expected = naive_statistics(weights.astype(np.float64), batch, batch, Stack.ENCODER)
    assert {Statistic.SPECIAL, Statistic.PADDING, Statistic.INDUCTION} <= set(expected) == set(kept.statistics)
    for name, values in expected.items():
        np.testing.assert_allclose(kept.statistics[name], values, atol=1e-5, rtol=1e-5, err_msg=name)
    for down, across, tile in tiled(weights * keep[:, None, :, None]):
        np.testing.assert_allclose(kept.sums[:, :, down, across], tile.sum((2, 3)), atol=1e-5)
        np.testing.assert_allclose(kept.largest[:, :, down, across], tile.max((2, 3)), atol=1e-5)
