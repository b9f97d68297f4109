"""Masks from files: what is read, and what is refused in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskviz.core.errors import CannotTraceError, MaskvizError, UsageError
from maskviz.load.inputs.user_mask import given_mask
from maskviz.load.texts.encode import Request, encode
from tests.tracing.conftest import loaded_tiny, random_rows

MASK = torch.ones(1, 1, 3, 3, dtype=torch.bool).tril()


def placed(mask: torch.Tensor, model_type: str = "llama", lengths: tuple[int, ...] = (3, 3)) -> Any:
    loaded = loaded_tiny(model_type)
    batch = encode(
        loaded,
        Request(ids=random_rows(lengths), target_ids=random_rows((2, 2))[: len(lengths)] if model_type == "t5" else ()),
    ).batch
    return given_mask(loaded, batch, mask)


@pytest.mark.parametrize(
    ("shape", "lengths", "passed", "note"),
    [
        ((2, 3), (3, 3), (2, 3), "[batch, token]"),
        ((3, 3), (3, 3), (1, 1, 3, 3), "[query, key] and passed as [1, 1, 3, 3]"),
        ((2, 2), (2, 2), (2, 2), "[batch, token]"),
        ((1, 3, 3), (3, 3), (1, 1, 3, 3), "[batch, query, key] and passed as [1, 1, 3, 3]"),
        ((2, 3, 3), (3, 3), (2, 1, 3, 3), "[batch, query, key]"),
        ((2, 4, 3, 3), (3, 3), (2, 4, 3, 3), ""),
        ((1, 1, 3, 3), (3, 3), (1, 1, 3, 3), ""),
    ],
)
def test_which_reading_was_taken_is_said(
    shape: tuple[int, ...], lengths: tuple[int, ...], passed: tuple[int, ...], note: str
) -> None:
    given = placed(torch.ones(shape, dtype=torch.bool), lengths=lengths)
    assert tuple(given.tensor.shape) == passed
    assert given.tensor.dtype is torch.bool
    assert note in " ".join(given.notes)
    assert bool(given.notes) is bool(note)


@pytest.mark.parametrize(
    ("mask", "model_type", "kind", "said"),
    [
        (torch.ones(4, 4), "llama", UsageError, r"the mask is \[4, 4\] and the batch 2 texts of 3 tokens"),
        (torch.ones(1, 1, 3, 4), "llama", UsageError, r"\[1, 1, 3, 4\]"),
        (torch.ones(3, 1, 3, 3), "llama", UsageError, r"\[3, 1, 3, 3\]"),
        (torch.ones(1, 3, 3, 3), "llama", UsageError, r"\[1, 3, 3, 3\]"),
        (torch.tensor(1.0), "llama", UsageError, r"the mask is \[\]"),
        (torch.ones(0, 3), "llama", UsageError, "holds nothing"),
        (torch.full((2, 3), 2), "llama", UsageError, "other than 0 and 1"),
        (torch.full((1, 1, 3, 3), float("nan")), "llama", UsageError, r"has nan at \[0, 0, 0, 0\]"),
        (torch.full((1, 1, 3, 3), float("inf")), "llama", UsageError, "has inf at"),
        (torch.ones(1, 1, 3, 3, dtype=torch.int64), "llama", UsageError, "int64, which sdpa attention"),
        (torch.ones(1, 1, 3, 3, dtype=torch.float64), "llama", UsageError, "float64, which sdpa attention"),
        (torch.ones(1, 1, 3, 3, dtype=torch.complex64), "llama", UsageError, "complex64"),
        (MASK, "t5", CannotTraceError, "cross attention too"),
    ],
)
def test_a_mask_that_does_not_fit_is_said(
    mask: torch.Tensor, model_type: str, kind: type[MaskvizError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        placed(mask, model_type)


def test_what_a_float_mask_means_depends_on_its_values() -> None:
    allowed = MASK.expand(1, 1, 3, 3)
    for mask in (allowed, allowed.float(), torch.zeros(1, 1, 3, 3).masked_fill(~allowed, -1e9)):
        assert np.array_equal(placed(mask).visible, allowed.numpy())
