"""What a run finds: memory, the processes torchrun started, the releases of the libraries."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
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


_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Share:
    """This process among those that torchrun started; alone by default.

    Attributes:
        rank: Its number, from 0.
        world: How many there are.
        splits: Whether the texts are dealt out; where all processes hold parts of one model, each runs every text.
    """

    rank: int = 0
    world: int = 1
    splits: bool = True

    @classmethod
    def of_environment(cls, *, splits: bool = True) -> Share:
        """The share that torchrun's environment variables name."""
        if not all(os.environ.get(name, "") for name in _NEEDED):
            return cls(splits=splits)
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), splits)

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints results and writes files."""
        return self.rank == 0

    def numbers(self, count: int) -> range:
        """Numbers of the texts, of `count`, that this process examines; none where there are too few."""
        return range(self.rank, count, self.world) if self.splits else range(count)


# Every test passes under these; a test holds them to the pins that CI installs.
OLDEST_TESTED = {"transformers": "5.0.0", "torch": "2.6.0"}
NEWEST_TESTED = {"transformers": "5.24.0", "torch": "2.13.0"}


def newer_than_tested() -> tuple[str, ...]:
    """A sentence for each library that is installed in a newer release than was tested."""
    return tuple(
        f"{name} {own} is newer than {tested}, the newest release maskviz was tested with"
        for name, tested in NEWEST_TESTED.items()
        if (own := installed(name)) and release_numbers(own) > release_numbers(tested)
    )


def installed(name: str) -> str:
    """The release of a library that is installed, empty where none is."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def release_numbers(release: str) -> tuple[int, ...]:
    """The numbers of a release; what is built locally ("+cpu") is the same release."""
    return tuple(int(number) for number in re.findall(r"\d+", release.partition("+")[0])[:3])
