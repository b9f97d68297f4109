"""Masks of modules proven by gradients; a module that mixes tokens beside attention is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from maskviz.core.errors import UsageError
from maskviz.core.run.trace import ModelCard
from maskviz.tracing.modules.prove import prove_module
from maskviz.tracing.modules.reading import Known
from maskviz.tracing.modules.run import run_module
from maskviz.tracing.modules.subjects import TorchSubject
from tests.tracing.modules.test_pooled import LATER, PADDING, Block, X, encoder, transformer

KNOWN = Known(ModelCard("m", "M", "torch module", False, (), (), ()), leading=2)
SHORT, TRIANGLE, PADDED = X[:, :7], LATER[:7, :7], PADDING[:, 28:35].clone()


class Mixing(nn.Module):
    """Causal attention, and the mean of all tokens beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block("fused")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.block(x) + x.mean(dim=1, keepdim=True)
        return mixed


@pytest.mark.parametrize(
    ("module", "given"),
    [
        (Block("fused"), {"x": SHORT}),
        (Block("grouped"), {"x": SHORT}),
        (Block("fused"), {"x": SHORT, "mask": ~PADDED[:, None, None]}),
        (encoder(), {"src": SHORT, "src_key_padding_mask": PADDED}),
        (encoder(), {"src": SHORT, "mask": TRIANGLE}),
        (transformer(), {"src": SHORT, "tgt": X[:, :5], "tgt_mask": LATER[:5, :5], "memory_key_padding_mask": PADDED}),
    ],
)
def test_every_cell_that_is_visible_has_a_gradient_and_no_other(module: nn.Module, given: Mapping[str, Any]) -> None:
    ran = run_module(TorchSubject(module, (), given), KNOWN)
    proof = prove_module(ran)
    assert proof.proven
    assert all(call.proven for call in proof.calls)


def test_a_mean_beside_causal_attention_is_no_proof() -> None:
    ran = run_module(TorchSubject(Mixing(), (SHORT,)), KNOWN)
    proof = prove_module(ran)
    assert proof.future is not None and proof.future.moved > 1e-3
    assert not proof.proven


def test_a_long_input_is_refused() -> None:
    long = torch.randn(1, 600, 32)
    ran = run_module(TorchSubject(Block("fused"), (long,)), KNOWN)
    with pytest.raises(UsageError, match="up to 512 positions, there are 600"):
        prove_module(ran)
