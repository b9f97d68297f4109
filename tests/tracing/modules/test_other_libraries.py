"""Functions of flash-attn and xformers, by their documented meaning; stand-ins where they do not run on a CPU."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.own_modules import NEAR, apart, patterns, ran, silenced, visible

ROWS, HEADS, QUERIES, KEYS, WIDTH = 2, 4, 4, 6, 8


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs(key_heads: int = HEADS, queries: int = QUERIES, keys: int = KEYS) -> tuple[Any, Any, Any]:
    """[row, token, head, width], as these libraries have it."""
    return (
        numbers(ROWS, queries, HEADS, WIDTH),
        numbers(ROWS, keys, key_heads, WIDTH, seed=1),
        numbers(ROWS, keys, key_heads, WIDTH, seed=2),
    )


def looped(
    query: Any, key: Any, cells: Any = None, scale: float | None = None, bias: Any = None, cap: float = 0.0
) -> Any:
    """Weights [row, head, query, key] of [row, token, head, width], one query at a time."""
    rows, queries, heads, width = query.shape
    groups = heads // key.shape[2]
    found = np.zeros((rows, heads, queries, key.shape[1]))
    for row, head, asking in np.ndindex(rows, heads, queries):
        scores = key[row, :, head // groups].double().numpy() @ query[row, asking, head].double().numpy()
        scores = scores * (1 / math.sqrt(width) if scale is None else scale)
        if cap:
            scores = cap * np.tanh(scores / cap)
        if bias is not None:
            scores = scores + np.broadcast_to(bias, found.shape)[row, head, asking]
        if cells is not None:
            scores = np.where(np.broadcast_to(cells, found.shape)[row, head, asking], scores, -np.inf)
        if np.isfinite(scores).any():
            raised = np.exp(scores - scores.max())
            found[row, head, asking] = raised / raised.sum()
    return found


def times(weights: Any, value: Any) -> torch.Tensor:
    """[row, query, head, width] of weights and values [row, token, head, width]."""
    repeated = value.repeat_interleave(weights.shape[1] // value.shape[2], 2)
    return torch.einsum("bhqk,bkhd->bqhd", torch.tensor(weights).float(), repeated)


def ending_together(queries: int, keys: int, left: int, right: int) -> Any:
    """What `causal` and `window_size` leave, one cell at a time; the last query stands at the last key."""
    cells = np.zeros((queries, keys), bool)
    for query, key in np.ndindex(queries, keys):
        apart_by = key - (query + keys - queries)
        cells[query, key] = (left < 0 or apart_by >= -left) and (right < 0 or apart_by <= right)
    return cells


def alibi(slopes: Any, queries: int, keys: int) -> Any:
    """What is added to the scores for slopes [head] or [row, head]: nearer keys weigh more."""
    if slopes is None:
        return None
    table = np.zeros((queries, keys))
    for query, key in np.ndindex(queries, keys):
        table[query, key] = abs(query + keys - queries - key)
    return -slopes.numpy()[..., None, None] * table


def limits(causal: bool, window_size: tuple[int, int]) -> tuple[int, int]:
    return (window_size[0], 0 if causal else window_size[1])


# The signatures are those of flash-attn 2.8, flash_attn_interface.py.
def flash_attn_func(
    q: Any, k: Any, v: Any, dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    window_size: tuple[int, int] = (-1, -1), softcap: float = 0.0, alibi_slopes: Any = None,
    deterministic: bool = False, return_attn_probs: bool = False,
) -> Any:  # fmt: skip
    cells = ending_together(q.shape[1], k.shape[1], *limits(causal, window_size))
    weights = looped(q, k, cells, softmax_scale, alibi(alibi_slopes, q.shape[1], k.shape[1]), softcap)
    output = times(weights, v).to(q.dtype)
    return (output, torch.zeros(()), torch.as_tensor(weights)) if return_attn_probs else output


def flash_attn_qkvpacked_func(
    qkv: Any, dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    window_size: tuple[int, int] = (-1, -1), softcap: float = 0.0, alibi_slopes: Any = None,
    deterministic: bool = False, return_attn_probs: bool = False,
) -> Any:  # fmt: skip
    query, key, value = qkv.unbind(2)
    return flash_attn_func(query, key, value, 0.0, softmax_scale, causal, window_size, softcap, alibi_slopes)


def flash_attn_kvpacked_func(
    q: Any, kv: Any, dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    window_size: tuple[int, int] = (-1, -1), softcap: float = 0.0, alibi_slopes: Any = None,
    deterministic: bool = False, return_attn_probs: bool = False,
) -> Any:  # fmt: skip
    key, value = kv.unbind(2)
    return flash_attn_func(q, key, value, 0.0, softmax_scale, causal, window_size, softcap, alibi_slopes)


def flash_attn_varlen_func(
    q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, max_seqlen_q: int, max_seqlen_k: int,
    dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    window_size: tuple[int, int] = (-1, -1), softcap: float = 0.0, alibi_slopes: Any = None,
    deterministic: bool = False, return_attn_probs: bool = False, block_table: Any = None,
) -> Any:  # fmt: skip
    parts = []
    for row in range(len(cu_seqlens_q) - 1):
        asking, asked = slice(*cu_seqlens_q[row : row + 2]), slice(*cu_seqlens_k[row : row + 2])
        tensors = (q[None, asking], k[None, asked], v[None, asked])
        parts.append(flash_attn_func(*tensors, 0.0, softmax_scale, causal, window_size, softcap, alibi_slopes)[0])
    return torch.cat(parts)


def flash_attn_varlen_qkvpacked_func(
    qkv: Any, cu_seqlens: Any, max_seqlen: int, dropout_p: float = 0.0, softmax_scale: float | None = None,
    causal: bool = False, window_size: tuple[int, int] = (-1, -1), softcap: float = 0.0, alibi_slopes: Any = None,
    deterministic: bool = False, return_attn_probs: bool = False,
) -> Any:  # fmt: skip
    query, key, value = qkv.unbind(1)
    return flash_attn_varlen_func(
        query, key, value, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, 0.0, softmax_scale, causal, window_size
    )


def memory_efficient_attention(
    query: Any, key: Any, value: Any, attn_bias: Any = None, p: float = 0.0, scale: float | None = None, *,
    op: Any = None, output_dtype: Any = None,
) -> Any:  # fmt: skip
    flat = query.ndim == 3
    query, key, value = (one[:, :, None] if flat else one for one in (query, key, value))
    bias = None if attn_bias is None else attn_bias.numpy()
    output = times(looped(query, key, None, scale, bias), value)
    return output[:, :, 0] if flat else output


FLASH = (
    *(flash_attn_func, flash_attn_qkvpacked_func, flash_attn_kvpacked_func),
    *(flash_attn_varlen_func, flash_attn_varlen_qkvpacked_func),
)


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A library of flash-attn's names whose functions run on a CPU."""
    library, interface = ModuleType("flash_attn"), ModuleType("flash_attn.flash_attn_interface")
    for function in FLASH:
        setattr(library, function.__name__, function)
        setattr(interface, function.__name__, function)
    monkeypatch.setitem(sys.modules, "flash_attn", library)
    monkeypatch.setitem(sys.modules, "flash_attn.flash_attn_interface", interface)
    return library


@pytest.fixture
def xformers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A library of xformers' names whose function runs on a CPU."""
    library, operators = ModuleType("xformers"), ModuleType("xformers.ops")
    operators.memory_efficient_attention = memory_efficient_attention  # type: ignore[attr-defined]
    library.ops = operators  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xformers", library)
    monkeypatch.setitem(sys.modules, "xformers.ops", operators)
    return operators


class Block(nn.Module):
    """Calls a function by the name its own file has, as modules of users do."""

    def __init__(self, name: str, *, heads: int | None = None, **options: Any) -> None:
        super().__init__()
        self.name, self.options = name, options
        self.num_heads: Any = heads

    def forward(self, *tensors: Any) -> Any:
        return globals()[self.name](*tensors, **self.options)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"causal": True},
    {"window_size": (2, 1)},
    {"window_size": (1, -1), "causal": True},
    {"softmax_scale": 0.2},
    {"softcap": 0.5},
    {"alibi_slopes": torch.tensor([0.5, 0.25, 0.1, 0.0])},
    {"alibi_slopes": torch.tensor([[0.5, 0.25, 0.1, 0.0], [1.0, 0.5, 0.2, 0.1]]), "causal": True},
]


@pytest.mark.usefixtures("flash")
@pytest.mark.parametrize("options", OPTIONS, ids=lambda one: "-".join(one) or "plain")
@pytest.mark.parametrize("key_heads", [HEADS, 2, 1])
def test_flash_attention_is_heard_by_its_documented_meaning(options: dict[str, Any], key_heads: int) -> None:
    given = inputs(key_heads)
    cells = ending_together(QUERIES, KEYS, *limits(options.get("causal", False), options.get("window_size", (-1, -1))))
    run = ran(Block("flash_attn_func", **options), given)
    bias = alibi(options.get("alibi_slopes"), QUERIES, KEYS)
    expected = looped(*given[:2], cells, options.get("softmax_scale"), bias, options.get("softcap", 0.0))
    assert apart(patterns(run)[0], expected) < NEAR
    assert run.output is not None and apart(run.output, times(patterns(run)[0], given[2])) < NEAR
    assert (np.broadcast_to(visible(run), (ROWS, 1, QUERIES, KEYS)) == cells).all()
    assert run.trace.calls[0].key_heads == key_heads


@pytest.mark.usefixtures("flash")
@pytest.mark.parametrize("options", OPTIONS, ids=lambda one: "-".join(one) or "plain")
def test_packed_functions_are_those_of_their_parts(options: dict[str, Any]) -> None:
    query, key, value = inputs(queries=QUERIES, keys=QUERIES)
    apart_from = patterns(ran(Block("flash_attn_func", **options), (query, key, value)))[0]
    packed = {
        "flash_attn_qkvpacked_func": (torch.stack([query, key, value], 2),),
        "flash_attn_kvpacked_func": (query, torch.stack([key, value], 2)),
    }
    for name, given in packed.items():
        assert apart(patterns(ran(Block(name, **options), given))[0], apart_from) < NEAR


@pytest.mark.usefixtures("flash")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("slopes", [None, torch.tensor([0.5, 0.25, 0.1, 0.0])])
def test_rows_of_different_lengths_in_one_see_themselves_alone(causal: bool, slopes: Any) -> None:
    lengths, total = (3, 1, 4), 8
    query, key, value = (numbers(total, HEADS, WIDTH, seed=seed) for seed in range(3))
    starts = torch.tensor([0, 3, 4, 8], dtype=torch.int32)
    given = (query, key, value, starts, starts, 4, 4)
    cells, bias, begin = np.zeros((total, total), bool), np.zeros((HEADS, total, total)), 0
    for length in lengths:
        end = begin + length
        cells[begin:end, begin:end] = ending_together(length, length, *limits(causal, (-1, -1)))
        bias[:, begin:end, begin:end] = 0 if slopes is None else alibi(slopes, length, length)
        begin = end
    expected = looped(query[None], key[None], cells, None, bias)
    run = ran(Block("flash_attn_varlen_func", causal=causal, alibi_slopes=slopes), given, rows=1)
    assert apart(patterns(run)[0], expected) < NEAR
    assert (visible(run)[0, 0] == cells).all()
    if slopes is None:
        packed = (torch.stack([query, key, value], 1), starts, 4)
        assert (
            apart(patterns(ran(Block("flash_attn_varlen_qkvpacked_func", causal=causal), packed, rows=1))[0], expected)
            < NEAR
        )


@pytest.mark.usefixtures("flash")
def test_a_caller_that_wants_probabilities_too_gets_what_the_function_returns() -> None:
    got: list[Any] = []

    class Asking(nn.Module):
        def forward(self, *tensors: Any) -> Any:
            query, key, value = tensors
            got.append(flash_attn_func(query, key, value, return_attn_probs=True))
            return got[-1][0]

    run = ran(Asking(), inputs())
    (plain, _, _), (listened, _, _) = got
    assert len(run.trace.calls) == 1 and torch.equal(plain, listened)


@pytest.mark.usefixtures("flash")
def test_the_library_s_own_name_is_heard_too() -> None:
    class ByLibrary(nn.Module):
        def forward(self, *tensors: Any) -> Any:
            return sys.modules["flash_attn"].flash_attn_func(*tensors)

    run = ran(ByLibrary(), inputs())
    assert apart(patterns(run)[0], looped(*inputs()[:2])) < NEAR
    assert sys.modules["flash_attn"].flash_attn_func is flash_attn_func  # it is afterwards as it was


@pytest.mark.usefixtures("flash")
@pytest.mark.parametrize("head", range(HEADS))
@pytest.mark.parametrize("name", ["flash_attn_func", "flash_attn_varlen_func"])
def test_a_silenced_head_of_flash_attention_puts_out_nothing(name: str, head: int) -> None:
    query, key, value = inputs(queries=KEYS)
    starts = torch.tensor([0, KEYS], dtype=torch.int32)
    rows = 2 if name == "flash_attn_func" else 1
    given = (query, key, value) if rows == 2 else (query[0], key[0], value[0], starts, starts, KEYS, KEYS)
    expected = times(looped(query[:rows], key[:rows]), value[:rows])
    expected[:, :, head] = 0
    found = silenced(ran(Block(name), given, rows=rows), 0, head)
    assert apart(found, expected if rows == 2 else expected[0]) < NEAR


@pytest.mark.usefixtures("xformers")
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("biased", [False, True])
def test_memory_efficient_attention_is_heard_by_its_documented_meaning(biased: bool, scale: float | None) -> None:
    given = inputs()
    cells = ending_together(QUERIES, KEYS, -1, 0)
    bias = torch.zeros(ROWS, HEADS, QUERIES, KEYS).masked_fill(~torch.tensor(cells), -torch.inf) if biased else None
    run = ran(Block("memory_efficient_attention", scale=scale, attn_bias=bias), given)
    expected = looped(*given[:2], cells if biased else None, scale)
    assert apart(patterns(run)[0], expected) < NEAR
    assert (np.broadcast_to(visible(run), expected.shape) == (expected > 0)).all()


@pytest.mark.usefixtures("xformers")
@pytest.mark.parametrize("said", [True, False], ids=["by argument", "by the module"])
def test_three_axes_of_xformers_are_rows_and_heads_in_one(said: bool) -> None:
    query, key, value = inputs()
    flat = tuple(one.transpose(1, 2).flatten(0, 1) for one in (query, key, value))
    block = Block("memory_efficient_attention", heads=None if said else HEADS)
    run = ran(block, flat, **({"rows": ROWS, "heads": HEADS} if said else {"rows": ROWS}))
    assert apart(patterns(run)[0], looped(query, key)) < NEAR
    expected = times(looped(query, key), value)
    expected[:, :, 2] = 0
    assert apart(silenced(run, 0, 2), expected.transpose(1, 2).flatten(0, 1)) < NEAR


@pytest.mark.usefixtures("xformers")
def test_a_bias_that_is_an_object_is_asked_what_it_stands_for() -> None:
    class LowerTriangularMask:
        """As xformers.ops has it: it says its cells when it is told the shape."""

        def materialize(self, shape: Any, dtype: Any = torch.float32, device: str = "cpu") -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype).masked_fill(torch.ones(shape).triu(1).bool(), -torch.inf)

        def numpy(self) -> Any:
            return self.materialize((QUERIES, QUERIES)).numpy()

    given = inputs(keys=QUERIES)
    run = ran(Block("memory_efficient_attention", attn_bias=LowerTriangularMask()), given)
    assert apart(patterns(run)[0], looped(*given[:2], np.tril(np.ones((QUERIES, QUERIES), bool)))) < NEAR
    assert str(run.trace.calls[0].mask.rule) == "causal"


@pytest.mark.usefixtures("xformers")
@pytest.mark.parametrize("head", range(HEADS))
def test_a_silenced_head_of_xformers_puts_out_nothing(head: int) -> None:
    query, key, value = inputs()
    expected = times(looped(query, key), value)
    expected[:, :, head] = 0
    assert apart(silenced(ran(Block("memory_efficient_attention"), (query, key, value)), 0, head), expected) < NEAR
