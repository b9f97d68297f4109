"""What is to be checked with a model. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskviz.core.checks.given_batch import GivenBatch
from maskviz.core.words import Backend, Dialect, Purpose
from maskviz.load.texts.encode import Request


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is to be checked with a model.

    Attributes:
        request: Texts or ids to encode; without any where `rows` or `arguments` are given.
        name: What it is called.
        file: The file that is checked, or None.
        rows: A batch as it was given, or None.
        arguments: The arguments of the model's forward, as somebody made them, or None.
        unmasked: Whether no attention mask is passed.
        mask: A mask of its own with its name, or None.
        dialect: How it is to be read, None to go by its shape.
        window: Keys a query is meant to see at most.
        meant: The mask that is meant, in the words of rules.
        purpose: What the batch is for.
        backend: The backend asked about; None for the model's own.
        tokenizer: A tokenizer at hand for a model by name, or None.
        head_mask, outputs: Heads somebody silenced, and the file of what came out.
    """

    request: Request
    name: str = ""
    file: Path | None = None
    rows: GivenBatch | None = None
    arguments: Mapping[str, Any] | None = None
    unmasked: bool = False
    mask: tuple[str, torch.Tensor] | None = None
    dialect: Dialect | None = None
    window: int | None = None
    meant: str | None = None
    purpose: Purpose | None = None
    backend: Backend | None = None
    tokenizer: Any = None
    head_mask: str | None = None
    outputs: Path | None = None
