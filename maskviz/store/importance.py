"""What silencing and removing heads did, and head masks, as JSON with every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maskviz.core.arrays import DoubleArray
from maskviz.core.results.importance import Importance, Site
from maskviz.core.results.pruning import Chosen, Pruning, PruningLine
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import ModelCard
from maskviz.core.words import Measure
from maskviz.store.preamble import preamble
from maskviz.store.readable import readable_json


def importance_json(importance: Importance, card: ModelCard, texts: Sequence[str], command: str) -> bytes:
    """An importance: `changes` are [text][site] for each measure, `gradients` [text][site] or null."""
    gradients = importance.gradients
    return readable_json({
        **preamble("importance", card, texts, command),
        "tokens": list(importance.tokens),
        "method": importance.method.value,
        "measure": importance.measure.value,
        "ablation": importance.ablation.value,
        "base": None if importance.base is None else _gates(importance.base),
        "plain": _listed(importance.effects.plain),
        "sites": [_site(site) for site in importance.sites],
        "changes": _listed(importance.effects.changes),
        "gradients": None if gradients is None else gradients.tolist(),
        "notes": list(importance.notes),
    })  # fmt: skip


def pruning_json(pruning: Pruning, card: ModelCard, texts: Sequence[str], command: str) -> bytes:
    """A pruning curve: `changes` of a line are [text][step] for each measure, its `masks` one for each step."""
    return readable_json({
        **preamble("pruning", card, texts, command),
        "tokens": list(pruning.tokens),
        "by": pruning.by.value,
        "measure": pruning.measure.value,
        "ablation": pruning.ablation.value,
        "reranked": pruning.reranked,
        "plain": _listed(pruning.plain),
        "sites": [_site(site) for site in pruning.sites],
        "removed": list(pruning.removed),
        "lines": [_line(line) for line in pruning.lines],
        "chosen": None if pruning.chosen is None else _chosen(pruning.chosen),
        "notes": list(pruning.notes),
    })  # fmt: skip


def head_mask_json(mask: HeadMask) -> bytes:
    """A head mask as `--head-mask @file.json` reads it: [layer][head], for several stacks an object of these.

    Args:
        mask: With the gates of every stack of its model; a list alone is read as the first stack's.
    """
    gates = _gates(mask)
    return readable_json(next(iter(gates.values())) if len(gates) == 1 else gates)


def _site(site: Site) -> dict[str, Any]:
    return {
        "name": str(site),
        "stack": site.stack,
        "layer": site.layer,
        "heads": list(site.heads),
        "key_head": site.key_head,
    }


def _line(line: PruningLine) -> dict[str, Any]:
    return {
        "order": line.order.value,
        "seed": line.seed,
        "changes": _listed(line.changes),
        "masks": [str(mask) for mask in line.masks],
    }


def _chosen(chosen: Chosen) -> dict[str, Any]:
    return {
        "why": chosen.why,
        "kept": chosen.kept,
        "removed": [_site(site) for site in chosen.removed],
        "mask": str(chosen.mask),
        "gates": _gates(chosen.mask),
        "changes": _listed(chosen.changes),
    }


def _gates(mask: HeadMask) -> dict[str, Any]:
    """Gates by stack, each as the shortest number that is its float32."""
    return {stack: [[float(str(gate)) for gate in row] for row in table] for stack, table in mask.gates.items()}


def _listed(arrays: Mapping[Measure, DoubleArray]) -> dict[str, Any]:
    return {measure.value: array.tolist() for measure, array in arrays.items()}
