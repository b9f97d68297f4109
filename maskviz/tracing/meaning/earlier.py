"""Where each token of a text stood before: what prefix matching, the mark of induction heads, is measured by."""

from __future__ import annotations

import numpy as np
import torch

from maskviz.core.arrays import BoolArray, IntArray


class Earlier:
    """The earlier places of every token of one row, looked up block by block.

    A query's induction score is the share of its attention on keys whose previous token is the query's own, earlier in
    the text (Olsson et al. 2022, "prefix matching").
    """

    def __init__(self, ids: IntArray, keep: BoolArray, device: torch.device) -> None:
        """Sort one row of ids [token]; padding stands nowhere."""
        alone = np.where(keep, ids, -1 - np.arange(len(ids)))  # padding is like nothing else
        order = np.argsort(alone, kind="stable")
        begins = np.flatnonzero(np.diff(alone[order], prepend=alone[order[:1]] - 1))
        first = np.repeat(begins, np.diff(np.append(begins, len(order))))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        start = np.empty(len(order), np.int64)
        start[order] = first
        self._order = torch.as_tensor(order, device=device)
        self._start = torch.as_tensor(start, device=device)  # [token], where its equals begin in the order
        self._count = torch.as_tensor(rank - start, device=device)  # [token], how many of them come before it

    def mass(self, weights: torch.Tensor, first_query: int, first_key: int) -> torch.Tensor:
        """The induction score [head, query] of weights [head, query, key] whose axes begin at these tokens."""
        heads, queries, keys = weights.shape
        rows = slice(first_query, first_query + queries)
        count = self._count[rows]
        query = torch.repeat_interleave(torch.arange(queries, device=weights.device), count)
        behind = torch.arange(len(query), device=weights.device) - (count.cumsum(0) - count)[query]
        key = self._order[self._start[rows][query] + behind] + 1 - first_key
        inside = (key >= 0) & (key < keys)
        query, key = query[inside], key[inside]
        found = weights.reshape(heads, -1)[:, query * keys + key]
        return torch.zeros(heads, queries, dtype=weights.dtype, device=weights.device).index_add_(1, query, found)
