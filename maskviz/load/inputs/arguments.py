"""The arguments of a forward as a check takes them: what does not fit is left out, so that the rest can be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from maskviz.load.inputs.forward_inputs import encoded_inputs
from maskviz.load.inputs.given import ids_of_labels
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded

# Names under which arguments have a cache, behind whose tokens a mask goes on.
_CACHES = ("past_key_values", "cache", "cache_params")


def encoded_arguments(loaded: Loaded, inputs: Mapping[str, Any]) -> Encoded:
    """As `encoded_inputs`, without a mask that fits neither the ids nor what transformers takes, which a note says; a
    decoder without ids is given its labels, as the class shifts them.

    Raises:
        UsageError, CannotTraceError: as `encoded_inputs`.
    """
    fitting, notes = dict(inputs), []
    if _misfits(loaded, inputs):
        del fitting["attention_mask"]
        notes.append("the batch was run without its attention_mask, which does not fit")
    labels = inputs.get("labels")
    wanted = loaded.card.encoder_decoder and inputs.get("decoder_input_ids") is None
    if wanted and isinstance(labels, torch.Tensor) and labels.ndim == 2:
        fitting["decoder_input_ids"] = ids_of_labels(loaded, labels)
    encoded = encoded_inputs(loaded, fitting)
    return replace(encoded, notes=(*encoded.notes, *notes))


def _misfits(loaded: Loaded, inputs: Mapping[str, Any]) -> bool:
    mask, ids = inputs.get("attention_mask"), inputs.get(loaded.model.main_input_name, inputs.get("input_ids"))
    if not isinstance(mask, torch.Tensor) or not isinstance(ids, torch.Tensor) or any(one in inputs for one in _CACHES):
        return False
    return mask.ndim == 3 or (mask.ndim == 2 and mask.shape != ids.shape)


def mask_of_cells(inputs: Mapping[str, Any], rows: int) -> torch.Tensor | None:
    """A mask [query, key] or [batch, query, key] among the arguments, which transformers takes for something else."""
    mask = inputs.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or (mask.ndim == 2 and len(mask) in (1, rows)):
        return None
    return mask if mask.ndim in (2, 3) else None
