"""Attention as people write it, with a mistake in each; `make_inputs.py` has the masks that go with it."""

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """Self attention of four heads; `attend` is where each class below differs."""

    heads = 4

    def __init__(self) -> None:
        super().__init__()
        self.projections, self.output = nn.Linear(32, 96), nn.Linear(32, 32)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        rows, length, _ = x.shape
        query, key, value = (
            part.view(rows, length, self.heads, -1).transpose(1, 2) for part in self.projections(x).split(32, dim=-1)
        )
        mixed = self.attend(query, key, value, mask)
        return self.output(mixed.transpose(1, 2).reshape(rows, mixed.shape[2], 32))

    def attend(self, query, key, value, mask):
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Added(Attention):
    """The mask is added to the scores."""

    def attend(self, query, key, value, mask):
        scores = query @ key.transpose(-1, -2) / 8**0.5
        return (scores + mask).softmax(dim=-1) @ value


class Step(Attention):
    """A decode step: the last two tokens ask, all are in the cache."""

    def attend(self, query, key, value, mask):
        last, causal = query[:, :, -2:], mask is None
        return functional.scaled_dot_product_attention(last, key, value, attn_mask=mask, is_causal=causal)


class Strict(Attention):
    """A triangle that hides a token from itself."""

    diagonal = 0

    def attend(self, query, key, value, mask):
        later = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).triu(self.diagonal)
        scores = (query @ key.transpose(-1, -2) / 8**0.5).masked_fill(later, float("-inf"))
        return scores.softmax(dim=-1) @ value


class Causal(Strict):
    """A triangle that does not."""

    diagonal = 1


class Mixing(Causal):
    """Causal attention beside something that is not."""

    def attend(self, query, key, value, mask):
        return super().attend(query, key, value, mask) + value.mean(dim=2, keepdim=True)


def _same(kind):
    def build() -> nn.Module:
        torch.manual_seed(0)
        return kind()

    return build


attention, added, step = _same(Attention), _same(Added), _same(Step)
strict, causal, mixing = _same(Strict), _same(Causal), _same(Mixing)


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)


def transformer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Transformer(32, 4, 1, 1, 64, batch_first=True)
