"""A comparison as JSON: counts and sentences, no cells."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import maskviz
from maskviz.core.results.diff import CellIn, MaskDiff, RunDiff
from maskviz.store.readable import readable_json


def diff_json(diff: RunDiff) -> bytes:
    """Counts of each pair of masks, by reason; shares of attention; the change of the outputs."""
    data = {
        "maskviz": maskviz.__version__,
        "a": diff.names[0],
        "b": diff.names[1],
        "differs": diff.differs,
        "masks": [_mask_to_json(mask) for mask in diff.masks],
        "unpaired": list(diff.unpaired),
        "notes": list(diff.notes),
        "outputs": None if diff.outputs is None else asdict(diff.outputs),
    }
    return readable_json(data)


def _mask_to_json(mask: MaskDiff) -> dict[str, Any]:
    return {
        "stack": mask.calls_a[0].stack if mask.calls_a else None,
        "layers_a": [call.layer for call in mask.calls_a],
        "layers_b": [call.layer for call in mask.calls_b],
        "rules": None if mask.masks is None else [str(one.rule) for one in mask.masks],
        "cells": {shown.name.lower(): mask.count(shown) for shown in CellIn},
        "only_a_blocked_in_b_for": {reason.word: count for reason, count in mask.why_a.items()},
        "only_b_blocked_in_a_for": {reason.word: count for reason, count in mask.why_b.items()},
        "attention_of_a_on_only_a": mask.mass_a,
        "attention_of_b_on_only_b": mask.mass_b,
    }
