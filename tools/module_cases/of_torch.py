"""Ways to attend that need torch alone, each beside what it says itself or its written-out meaning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from maskviz.tracing.modules.axes import Said
from tools.module_cases.case import Built, Case, weights_of_modules

ROWS, LENGTH, HEADS, WIDTH = 2, 6, 3, 12
PADDING = torch.arange(LENGTH)[None] >= torch.tensor([LENGTH, LENGTH - 2])[:, None]


def _numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _asked(module: nn.Module, inputs: dict[str, Any], projection: str) -> Built:
    """A module with torch's own attention in it, in evaluation mode and, to be asked, without its fast path."""
    module = module.eval()

    def own() -> list[Any]:
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            return weights_of_modules(module, lambda: module(**inputs))
        finally:
            torch.backends.mha.set_fastpath_enabled(True)

    paths = [path for path, part in module.named_modules() if isinstance(part, nn.MultiheadAttention)]
    joined = tuple(f"{path}.{projection}".removeprefix(".") for path in paths)
    return Built(module, inputs, own, joined)


def _multi_head(**options: Any) -> Built:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **options)
    x = _numbers(ROWS, LENGTH, WIDTH)
    value = x if not options.get("kdim") else _numbers(ROWS, LENGTH, options["kdim"], seed=1)
    return _asked(module, {"query": x, "key": value, "value": value, "key_padding_mask": PADDING}, "out_proj")


def _encoder() -> Built:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True)
    module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    inputs = {"src": _numbers(ROWS, LENGTH, WIDTH), "mask": causal, "src_key_padding_mask": PADDING}
    return _asked(module, inputs, "out_proj")


def _whole() -> Built:
    torch.manual_seed(0)
    module = nn.Transformer(WIDTH, HEADS, 1, 1, 24, batch_first=True)
    module.encoder.enable_nested_tensor = False
    inputs = {
        "src": _numbers(ROWS, LENGTH, WIDTH),
        "tgt": _numbers(ROWS, LENGTH - 1, WIDTH, seed=1),
        "src_key_padding_mask": PADDING,
        "memory_key_padding_mask": PADDING,
    }
    return _asked(module, inputs, "out_proj")


class Attending(nn.Module):
    """Queries, keys and values of one input, mixed by a function of [row, head, token, width]."""

    def __init__(self, mix: Callable[..., Any], key_heads: int = HEADS) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.num_heads, self.key_heads = mix, HEADS, key_heads
        self.query, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.key, self.value = (nn.Linear(WIDTH, WIDTH // HEADS * key_heads) for _ in range(2))

    def parts(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Queries, keys and values [row, head, token, width]."""
        made = (self.query(x), self.key(x), self.value(x))
        return [one.reshape(*x.shape[:2], -1, WIDTH // HEADS).transpose(1, 2) for one in made]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.out(self.mix(*self.parts(x)).transpose(1, 2).flatten(2)))


def _written_out(
    mix: Callable[..., Any], cells: Any = None, key_heads: int = HEADS, bias: Any = 0.0, said: Said | None = None
) -> Built:
    """A mix beside softmax(q k / sqrt(width)) with cells left out, written out."""
    module, x = Attending(mix, key_heads).eval(), _numbers(ROWS, LENGTH, WIDTH)

    def own() -> list[Any]:
        with torch.no_grad():
            query, key, _ = module.parts(x)
            scores = query @ key.repeat_interleave(HEADS // key_heads, 1).mT / math.sqrt(WIDTH // HEADS) + bias
            return [(scores if cells is None else scores.masked_fill(~cells, -torch.inf)).softmax(-1)]

    return Built(module, {"x": x}, own, ("out",), said or Said())


CAUSAL = torch.ones(LENGTH, LENGTH).tril().bool()
NEARER = -0.3 * (torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)).abs()


def _fused(**options: Any) -> Callable[..., Any]:
    return partial(functional.scaled_dot_product_attention, **options)


def _flexed(query: Any, key: Any, value: Any) -> Any:
    blocks = create_block_mask(lambda b, h, q, k: q >= k, None, None, LENGTH, LENGTH, device="cpu")
    return flex_attention(query, key, value, lambda s, b, h, q, k: s - 0.3 * (q - k).abs(), blocks)


def _scaled(query: Any, key: Any) -> Any:
    return query @ key.mT / math.sqrt(WIDTH // HEADS)


def _by_hand(query: Any, key: Any, value: Any) -> Any:
    return _scaled(query, key).masked_fill(~CAUSAL, -torch.inf).softmax(-1) @ value


def _letters(query: Any, key: Any, value: Any) -> Any:
    query, key, value = (one.transpose(1, 2) for one in (query, key, value))
    weights = torch.einsum("bqhd,bkhd->bhqk", query, key).div(math.sqrt(WIDTH // HEADS)).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, value).transpose(1, 2)


def _three_axes(query: Any, key: Any, value: Any) -> Any:
    flat = [one.flatten(0, 1) for one in (query, key, value)]
    added = torch.zeros(LENGTH, LENGTH).masked_fill(~CAUSAL, -torch.inf).expand(len(flat[0]), -1, -1)
    scores = torch.baddbmm(added, flat[0], flat[1].mT, alpha=1 / math.sqrt(WIDTH // HEADS))
    return torch.bmm(scores.softmax(-1), flat[2]).reshape(query.shape)


def _five_axes(query: Any, key: Any, value: Any) -> Any:
    query = query[:, None]  # [row, key head, query head of it, token, width]
    return (_scaled(query, key[:, :, None]).softmax(-1) @ value[:, :, None]).flatten(1, 2)


def _values_first(query: Any, key: Any, value: Any) -> Any:
    return (value.mT @ _scaled(query, key).softmax(-1).mT).mT


def _powers(query: Any, key: Any, value: Any) -> Any:
    raised = _scaled(query, key).exp()
    return (raised / raised.sum(-1, keepdim=True)) @ value


OWN, LOOP = "need_weights=True, average_attn_weights=False", "softmax of its queries and keys, written out"


def cases() -> Iterator[Case]:
    """Every kind, the module's own first."""
    forms: dict[str, dict[str, Any]] = {
        "padded": {},
        "keys and values of another width": {"kdim": 7, "vdim": 7},
        "add_bias_kv, add_zero_attn": {"add_bias_kv": True, "add_zero_attn": True},
    }
    for name, options in forms.items():
        yield Case("torch", f"nn.MultiheadAttention, {name}", OWN, partial(_multi_head, **options))
    yield Case("torch", "nn.TransformerEncoder, causal and padded", f"{OWN}, fast path off", _encoder)
    yield Case("torch", "nn.Transformer, own and cross", f"{OWN}, fast path off", _whole)
    fused: dict[str, tuple[dict[str, Any], Any, int, Any]] = {
        "is_causal": ({"is_causal": True}, CAUSAL, HEADS, 0.0),
        "mask of floats": ({"attn_mask": NEARER}, None, HEADS, NEARER),
        "enable_gqa": ({"enable_gqa": True}, None, 1, 0.0),
    }
    for name, (asked, cells, key_heads, bias) in fused.items():
        yield Case(
            "torch",
            f"scaled_dot_product_attention, {name}",
            LOOP,
            partial(_written_out, _fused(**asked), cells, key_heads, bias),
        )
    yield Case(
        "torch", "flex_attention, mask_mod and score_mod", LOOP, partial(_written_out, _flexed, CAUSAL, HEADS, NEARER)
    )
    by_hand = {
        "softmax, masked_fill": (_by_hand, CAUSAL, HEADS),
        "einsum, tokens before heads": (_letters, None, HEADS),
        "baddbmm and bmm, 3 axes": (_three_axes, CAUSAL, HEADS),
        "5 axes, 1 key head": (_five_axes, None, 1),
        "values first": (_values_first, None, HEADS),
        "exp and a division": (_powers, None, HEADS),
    }
    for name, (mix, cells, key_heads) in by_hand.items():
        yield Case("by hand", name, LOOP, partial(_written_out, mix, cells, key_heads))
