"""Metadata of earlier versions of the file, each turned into that of the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maskviz.store.contents import VERSION, Meta
from maskviz.store.schema import MisfitError


def _from_1(meta: Meta) -> Meta:
    """The first edition: only a long run named its kind, and the earliest files say nothing of silent layers."""
    kind = meta.get("kind", "run")
    return {"kind": kind, **({"silent": []} if kind == "run" else {}), **meta, "version": 2}


READERS: dict[int, Callable[[Meta], Meta]] = {1: _from_1}


def as_written_today(meta: Any) -> Any:
    """Metadata of any version that was ever written as that of the present one; what is none comes back as it is.

    Raises:
        MisfitError: it is of a version that this maskviz does not know.
    """
    while isinstance(meta, dict) and (version := meta.get("version")) != VERSION:
        if not isinstance(version, int) or isinstance(version, bool) or version not in READERS:
            known = ", ".join(map(str, [*READERS, VERSION]))
            raise MisfitError(f"it is of version {str(version)[:20]!r} of the format, this maskviz reads {known}")
        meta = READERS[version](meta)
    return meta
