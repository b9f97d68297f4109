"""How much attention falls on padding."""

from __future__ import annotations

import numpy as np

from maskviz.core.run.trace import AttentionCall, Trace


def attention_on_padding(trace: Trace, row: int, calls: tuple[AttentionCall, ...] | None = None) -> float | None:
    """Share in [0, 1] of the attention of a text's real queries that falls on padding keys, the mean over queries, all
    heads and all calls; None where no call has attention over that text's tokens.

    Args:
        trace: The run; its batch says which tokens are padding, whatever mask the model was given.
        row: Row of the batch.
        calls: Which calls; None for all of them.
    """
    shares = []
    for call in trace.calls if calls is None else calls:
        keep = trace.sides(call)[1].keep[row]
        if call.pattern is None or call.pattern.shape[3] < len(keep):
            continue
        real = trace.real_queries(call)[row]
        if real.any():
            # [head, query, key]: extra keys of the model's own behind the text are no padding
            weights = call.pattern[row][:, real, : len(keep)]
            shares.append(float(weights[..., ~keep].sum(axis=-1).mean(dtype=np.float64)))
    return float(np.mean(shares)) if shares else None
