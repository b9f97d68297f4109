"""A text of a masked language model with its tokens masked in turn, as its pseudo-log-likelihood asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from maskviz.core.words import Role
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded


def masked_in_turn(
    loaded: Loaded, encoded: Encoded, most: int | None, generator: np.random.Generator
) -> tuple[tuple[Encoded, int, int], ...]:
    """One row with each of its real tokens masked in turn; special tokens never, and masks that are in it stay.

    Args:
        loaded: The model, with a tokenizer that has a mask token.
        encoded: One row, without padding.
        most: How many tokens are masked at most, drawn at random; None for all.
        generator: Draws them.

    Returns:
        For each masked token the row, the position of the token, and its id; none where no mask token is known.
    """
    mask = getattr(loaded.tokenizer, "mask_token_id", None)
    name = loaded.model.main_input_name
    if mask is None or name not in encoded.inputs:
        return ()
    places = [place for place, role in enumerate(encoded.batch.roles[0]) if role is Role.TEXT]
    if most is not None and len(places) > most:
        places = sorted(int(place) for place in generator.choice(places, most, replace=False))
    return tuple(
        (_masked(encoded, name, place, int(mask)), place, int(encoded.batch.ids[0, place])) for place in places
    )


def _masked(encoded: Encoded, name: str, place: int, mask: int) -> Encoded:
    batch, tensor = encoded.batch, encoded.inputs[name].clone()
    tensor[0, place] = torch.as_tensor(mask, dtype=tensor.dtype)
    ids = np.array(batch.ids)
    ids[0, place] = mask
    roles = (tuple(Role.MASK if at == place else role for at, role in enumerate(batch.roles[0])),)
    return replace(encoded, batch=replace(batch, ids=ids, roles=roles), inputs={**encoded.inputs, name: tensor})
