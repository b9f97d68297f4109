"""Memory: how much is free, and sizes as people read them."""

from __future__ import annotations

import os
from pathlib import Path


def as_size(count: float) -> str:
    """Bytes with two digits and a unit, such as "54 GB"."""
    units = iter(("bytes", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while count >= 999.5 and unit != "PB":
        count, unit = count / 1000, next(units)
    return f"{count:.0f} {unit}" if count >= 9.95 or unit == "bytes" else f"{count:.1f} {unit}"


def free_bytes() -> int | None:
    """Memory that can be used without swapping, within the limit of a container; None where the system does not say."""
    known = [free for free in (_free_here(), _free_in_container()) if free is not None]
    return min(known, default=None)


def _free_in_container() -> int | None:
    """What a control group (version 2) leaves, None without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        most = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        freed = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError):
        return None
    return max(0, most - used + freed)


def _free_here() -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None
