"""A block as in nanoGPT, its attention fused and by hand with the same weights."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Causal self attention of four heads and a feed-forward part, both behind a norm."""

    n_head = 4

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.first, self.second = nn.LayerNorm(32), nn.LayerNorm(32)
        self.c_attn, self.c_proj = nn.Linear(32, 96), nn.Linear(32, 32)
        self.mlp = nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attend(self.first(x))
        return x + self.mlp(self.second(x))

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, width = x.shape
        query, key, value = (
            part.view(rows, length, self.n_head, -1).transpose(1, 2) for part in self.c_attn(x).split(width, dim=2)
        )
        if self.fused:
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
            later = torch.ones(length, length, dtype=torch.bool).triu(1)
            mixed = scores.masked_fill(later, float("-inf")).softmax(dim=-1) @ value
        return self.c_proj(mixed.transpose(1, 2).reshape(rows, length, width))


def _blocks(fused: bool) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Block(fused), Block(fused))


def fused() -> nn.Module:
    return _blocks(True)


def by_hand() -> nn.Module:
    return _blocks(False)
