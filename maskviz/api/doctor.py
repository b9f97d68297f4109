"""What maskviz finds on this machine: releases, devices, fonts, the local hub cache, extras. Imports torch."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch

import maskviz
from maskviz.api.answer import Answer, read_back
from maskviz.core.machine import NEWEST_TESTED, OLDEST_TESTED, as_size, free_bytes, installed, release_numbers
from maskviz.core.panels.page import Note, Page, Panel, Table, Tone
from maskviz.core.writing import plural
from maskviz.load.models.cached import cached_models, hub_cache

# What each extra adds, and the package by which it is known.
EXTRAS: Mapping[str, tuple[str, str]] = {
    "explore": ("textual_image", "maskviz explore, the interactive view"),
    "gguf": ("gguf", ".gguf files"),
    "cjk": ("noto_cjk_sans_otc", "a font for Chinese, Japanese and Korean in pictures"),
    "parallel": ("accelerate", "models spread over devices"),
}
_LIBRARIES = ("torch", "transformers", "tokenizers", "huggingface-hub", "safetensors", "numpy", "matplotlib", "rich")
_CJK = "漢字かな한글"


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model can run.

    Attributes:
        name: As --device takes it.
        words: What it is called.
        free: Bytes of its memory that are free, None where it does not say.
    """

    name: str
    words: str
    free: int | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Checkup(Answer):
    """What is found on this machine.

    Attributes:
        releases: Installed libraries.
        devices: Where models can run, the one that is taken first.
        cache: The folder of models from the hub.
        models: Models in it.
        extras: Extras, and whether each is installed.
        fonts: What cannot be written in pictures, empty where all can.
        terminal: What the terminal shows, by name; empty from Python.
    """

    DATA: ClassVar[tuple[str, ...]] = (".json",)
    releases: Mapping[str, str]
    devices: tuple[Device, ...]
    cache: Path
    models: tuple[str, ...]
    extras: Mapping[str, bool]
    fonts: str
    terminal: Mapping[str, str]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may make answers differ from those that were tested."""
        found = []
        for name, newest in NEWEST_TESTED.items():
            own = release_numbers(self.releases.get(name, ""))
            if own > release_numbers(newest):
                found.append(f"{name} {self.releases[name]} is newer than {newest}, the newest that was tested")
            elif own < release_numbers(OLDEST_TESTED[name]):
                found.append(f"{name} {self.releases[name]} is older than {OLDEST_TESTED[name]}, the oldest promised")
        return tuple(found)

    def page(self) -> Page:
        """The page that `maskviz doctor` prints."""
        tested = {name: f"{OLDEST_TESTED[name]} to {newest}" for name, newest in NEWEST_TESTED.items()}
        panels: list[Panel] = [
            *(Note(one, Tone.WARNING) for one in self.warnings),
            Table(
                "releases",
                ("library", "installed", "tested with"),
                tuple((name, own, tested.get(name, "")) for name, own in self.releases.items()),
            ),
            Table(
                "devices",
                ("--device", "what it is", "free memory>"),
                tuple((one.name, one.words, "-" if one.free is None else as_size(one.free)) for one in self.devices),
                f"auto takes {self.devices[0].name}",
            ),
            Table(
                "extras",
                ("extra", "what it adds", "how"),
                tuple(
                    (name, EXTRAS[name][1], "installed" if there else f"pip install 'maskviz[{name}]'")
                    for name, there in self.extras.items()
                ),
            ),
            Note(self.fonts or "Pictures can be written in any script that was tried."),
            Note(f"{plural(len(self.models), 'model')} of the hub on this machine, in {self.cache}: {self._named()}"),
        ]
        if self.terminal:
            panels.insert(-2, Table("terminal", ("what", "found"), tuple(self.terminal.items())))
        return Page("this machine", f"maskviz {maskviz.__version__}", tuple(panels))

    def _named(self) -> str:
        shown = ", ".join(self.models[:8]) or "the demo models are always there"
        return shown if len(self.models) <= 8 else f"{shown} and {len(self.models) - 8} more"

    def to_dict(self) -> dict[str, Any]:
        """What is found, as plain values."""
        return read_back(self.data(".json"))

    def data(self, suffix: str, command: str = "") -> bytes:
        """What is found as `.json`."""
        import json

        del suffix
        found = {
            "maskviz": maskviz.__version__,
            "command": command,
            "releases": dict(self.releases),
            "tested": {name: [OLDEST_TESTED[name], newest] for name, newest in NEWEST_TESTED.items()},
            "devices": [asdict(one) for one in self.devices],
            "cache": str(self.cache),
            "models": list(self.models),
            "extras": dict(self.extras),
            "fonts": self.fonts,
            "terminal": dict(self.terminal),
            "warnings": list(self.warnings),
        }
        return json.dumps(found, indent=2, ensure_ascii=False).encode()


def doctor(terminal: Mapping[str, str] | None = None) -> Checkup:
    """Look at this machine: releases beside those tested, devices, fonts, extras, the local hub cache.

    Args:
        terminal: What the terminal shows, for whoever knows.
    """
    from maskviz.render.fonts import typeface_for

    releases = {"python": platform.python_version()}
    releases |= {name: own for name in _LIBRARIES if (own := installed(name))}
    return Checkup(
        releases,
        _devices(),
        hub_cache(),
        cached_models(),
        {name: find_spec(package) is not None for name, (package, _) in EXTRAS.items()},
        typeface_for([_CJK]).apology,
        terminal or {},
    )


def _devices() -> tuple[Device, ...]:
    """The accelerators torch finds, then the CPU."""
    found = []
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    for number in range(0 if kind is None else torch.accelerator.device_count()):
        assert kind is not None
        words, free = kind.type, None
        if kind.type == "cuda":
            words, free = torch.cuda.get_device_name(number), torch.cuda.mem_get_info(number)[0]
        found.append(Device(f"{kind.type}:{number}" if number else kind.type, words, free))
    cores = f"{platform.machine()}, {plural(torch.get_num_threads(), 'thread')}"
    return (*found, Device("cpu", cores, free_bytes()))
