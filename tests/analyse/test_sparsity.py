"""Blocks and operations, against torch's own BlockMask and against cells counted one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask

from maskviz.analyse.sparsity import count_blocks, mask_cost
from maskviz.core.arrays import Content
from maskviz.core.results.results import HeadSize
from maskviz.core.rules.algebra import Everything, Rule, all_of, any_of
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.kinds import Ahead, Band, BlockCausal, Causal, Chunk, Document, Itself, Padding, Prefix, Window
from tests.rules_to_fold import reasons_of, rules, sizes

DOCUMENTS = Document(Content([np.repeat([3, 0, 7, 5], [130, 700, 40, 2300])], np.int64))
PADDED = Padding(Content([np.arange(3200) % 701 > 250], np.bool_))
PADDED_QUERIES = Padding(Content([(np.arange(3200) > 300) & (np.arange(3200) < 900)], np.bool_), queries=True)
CHUNKS = Chunk(384, Content([17], np.int64))
RULES = (
    Everything(),
    Causal(),
    all_of(Causal(), Window(300)),
    Band(129),
    all_of(Ahead(200), Window(2)),
    CHUNKS,
    BlockCausal(300),
    all_of(BlockCausal(77), PADDED),
    Prefix(Content([500], np.int64)),
    DOCUMENTS,
    PADDED,
    PADDED_QUERIES,
    all_of(Causal(), Window(300), DOCUMENTS),
    all_of(Causal(), CHUNKS, DOCUMENTS, PADDED),
    all_of(Causal(), DOCUMENTS, PADDED_QUERIES),
    Window(0),
)


def mask_mod(rule: Rule, offset: int):  # type: ignore[no-untyped-def]
    """The rule as FlexAttention asks it: a function of tensors of positions, written with torch alone."""

    def visible(b, h, q, k):  # type: ignore[no-untyped-def]
        q = q + offset
        match rule:
            case Causal():
                return k <= q
            case Window(size):
                return q - k < size
            case Band(reach):
                return (q - k).abs() <= reach
            case Ahead(reach):
                return k - q <= reach
            case Chunk(size, start):
                first = int(start.array[0])
                return (q - first) // size == (k - first) // size
            case BlockCausal(size):
                return k // size <= q // size
            case Prefix(length):
                return (k < int(length.array[0])) | (k <= q)
            case Document(document):
                ids = torch.tensor(document.array[0])
                return ids[q] == ids[k]
            case Padding(keep, queries):
                kept = torch.tensor(keep.array[0])
                return kept[k] & kept[q] if queries else kept[k]
        return (k >= 0) & (q >= 0)

    return visible


@pytest.mark.parametrize(
    "size", [Lengths(1000, 1000), Lengths(2048, 2048), Lengths(3000, 3000), Lengths(257, 1300, 1043), Lengths(40, 90)]
)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule))
def test_blocks_are_those_of_torchs_block_mask(rule: Rule, size: Lengths) -> None:
    mods = [mask_mod(leaf, size.offset) for leaf in rule.leaves()]

    def all_mods(b, h, q, k):  # type: ignore[no-untyped-def]
        found = mods[0](b, h, q, k)
        for mod in mods[1:]:
            found = found & mod(b, h, q, k)
        return found

    flex = create_block_mask(all_mods, None, None, size.queries, size.keys, device="cpu")
    cost = mask_cost(rule, size)
    assert cost is not None
    assert flex.full_kv_num_blocks is not None
    assert cost.blocks.partial == int(flex.kv_num_blocks.sum())
    assert cost.blocks.full == int(flex.full_kv_num_blocks.sum())
    assert cost.sparsity == pytest.approx(flex.sparsity(), abs=1e-9)
    assert cost.blocks.full + cost.blocks.partial + cost.blocks.empty == flex.kv_indices[0, 0].numel()


@given(rules(), sizes, st.integers(1, 9))
def test_blocks_of_any_size_are_those_of_the_cells(rule: Rule, size: Lengths, side: int) -> None:
    visible = reasons_of(rule, size)[0] == 0
    filled_up = np.pad(visible, ((0, -size.queries % side), (0, -size.keys % side)))
    blocks = [
        filled_up[row : row + side, key : key + side].sum()
        for row in range(0, size.queries, side)
        for key in range(0, size.keys, side)
    ]
    counted = count_blocks(rule, size, side)
    assert counted is not None
    assert counted.full == sum(cells == side * side for cells in blocks)
    assert counted.empty == sum(cells == 0 for cells in blocks)
    assert counted.partial == len(blocks) - counted.full - counted.empty


def test_operations_are_those_torch_counts_for_the_square() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    query, key, value = (torch.zeros(1, 3, 10, 8) for _ in range(3))
    with FlopCounterMode(display=False) as counter:
        torch.softmax(query @ key.transpose(-1, -2), dim=-1) @ value
    assert HeadSize(heads=3, width=8).operations(100) == counter.get_total_flops()


def test_a_rule_of_several_runs_has_no_cost() -> None:
    assert mask_cost(any_of(Causal(), Itself()), Lengths(9, 9)) is None


def test_a_million_tokens_in_blocks_are_counted_as_a_formula_says() -> None:
    rows = 1_000_000 // 128 + 1  # the last one is not whole
    cost = mask_cost(all_of(Causal(), Window(4096)), Lengths(1_000_000, 1_000_000))
    assert cost is not None
    # A query sees 4,095 keys before its own: of 32 block columns before its own the first is partly seen.
    assert cost.blocks.partial + cost.blocks.full == sum(min(row, 32) + 1 for row in range(rows))
    assert cost.blocks.full == sum(min(row, 31) for row in range(rows - 1))
