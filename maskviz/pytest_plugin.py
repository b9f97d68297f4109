"""A plugin of pytest: fixtures that assert masks. Nothing heavy is imported before one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def assert_masks() -> Callable[..., Any]:
    """`maskviz.testing.assert_masks(model, batch)`."""
    from maskviz.testing import assert_masks

    return assert_masks


@pytest.fixture
def first_batches() -> Callable[..., list[Any]]:
    """`maskviz.testing.first_batches(loader_or_data_module, count)`."""
    from maskviz.testing import first_batches

    return first_batches
