"""Which releases of the libraries that run models were tested, and whether those installed are newer."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

# Every test passes under these; a test holds them to the pins that CI installs.
NEWEST_TESTED = {"transformers": "5.24.0", "torch": "2.13.0"}


def newer_than_tested() -> tuple[str, ...]:
    """A sentence for each library that is installed in a newer release than was tested."""
    return tuple(
        f"{name} {installed} is newer than {tested}, the newest release maskviz was tested with"
        for name, tested in NEWEST_TESTED.items()
        if (installed := _installed(name)) and _numbers(installed) > _numbers(tested)
    )


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _numbers(release: str) -> tuple[int, ...]:
    """The numbers of a release; what is built locally ("+cpu") is the same release."""
    return tuple(int(number) for number in re.findall(r"\d+", release.partition("+")[0])[:3])
