"""Tensors of one number compute what tensors of many would."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from maskviz.tracing.listen.constants import is_constant
from maskviz.tracing.listen.shadow import Shadow

Operation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
OPERATIONS: dict[str, Operation] = {
    "add": lambda zeros, other: zeros + other,
    "add a number": lambda zeros, other: zeros + 3,
    "product": lambda zeros, other: zeros * other,
    "norm": lambda zeros, other: zeros * torch.rsqrt(zeros.pow(2).mean(-1, keepdim=True) + 1e-6),
    "activation": lambda zeros, other: torch.nn.functional.gelu(zeros + 1),
    "softmax": lambda zeros, other: (zeros @ zeros.transpose(-1, -2) + other[..., :3]).softmax(-1),
    "masked": lambda zeros, other: zeros.masked_fill(other > 0, -1e9),
    "cat": lambda zeros, other: torch.cat([zeros, zeros], dim=1),
    "cat with other numbers": lambda zeros, other: torch.cat([zeros, other], dim=1),
    "cat with nothing": lambda zeros, other: torch.cat([torch.empty(2, 0, 4), zeros], dim=1),
    "views": lambda zeros, other: zeros.view(2, 3, 2, 2).transpose(1, 2).reshape(2, 2, 6),
    "written into": lambda zeros, other: zeros.add_(other),
    "written into a part": lambda zeros, other: zeros.index_fill_(1, torch.tensor([1]), 5.0),
    "complex numbers": lambda zeros, other: torch.view_as_complex(zeros.view(2, 3, 2, 2)).real,
    "cumulative": lambda zeros, other: (zeros + 1).cumsum(1),
    "sorted": lambda zeros, other: (zeros + other).topk(2).values,
    "cast": lambda zeros, other: zeros.to(torch.bfloat16),
}


WEIGHT = torch.empty(5, 4, device="meta")


def weighted_zeros() -> torch.Tensor:
    """What a layer without weights puts out, [2, 3, 4]."""
    return torch.ones(2, 3, 5) @ WEIGHT


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_what_it_gives_on_dense_zeros(name: str) -> None:
    other = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    with Shadow():
        zeros = weighted_zeros()
        assert is_constant(zeros)
        made = OPERATIONS[name](zeros, other)
    expected = OPERATIONS[name](torch.zeros(2, 3, 4), other)
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    assert torch.equal(made, expected)


def test_a_run_of_such_operations_keeps_one_number() -> None:
    with Shadow():
        zeros = weighted_zeros()
        made = torch.nn.functional.silu(zeros * torch.randn(4) + zeros).view(6, 4)
    assert is_constant(made)


def test_a_tensor_of_one_element_is_no_constant() -> None:
    assert not is_constant(torch.zeros(1, 1))
    assert not is_constant(torch.zeros(3))
    assert is_constant(torch.zeros(()).expand(3))
