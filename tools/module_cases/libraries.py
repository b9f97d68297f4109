"""Where other libraries lie, and what they need to be imported beside a torch that was built for a CPU.

They are no part of the environment of the tests: transformers does other things where it finds timm or torchvision.
tests/libraries.txt names them; MASKVIZ_LIBRARIES is the folder they were put into with pip's `--target`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch

FOLDER = os.environ.get("MASKVIZ_LIBRARIES", str(Path(__file__).parents[2] / "build" / "libraries"))
LIBRARIES = (
    *("timm", "torchvision", "diffusers", "x_transformers"),
    *("sentence_transformers", "open_clip", "einops", "flash_attn", "xformers"),
)

_DEFINED: list[Any] = []  # the names last as long as what defined them


def found_there() -> None:
    """Let the libraries be found; torchvision's operators, where its own for CUDA cannot be loaded, get their names.

    Nothing that is shown calls one of them: they are about boxes. But timm, open_clip and torchvision's own Swin
    cannot be imported without the names.
    """
    if FOLDER not in sys.path:
        sys.path.append(FOLDER)
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None or _DEFINED:
        return
    text = (Path(found.origin).parent / "_meta_registrations.py").read_text(encoding="utf-8")
    names = set(re.findall(r'(?:register_meta\("|torchvision::)(\w+)', text))
    missing = [name for name in sorted(names) if not _is_there(name, Path(found.origin).parent)]
    if missing:
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in missing:
            library.define(f"{name}(Tensor input) -> Tensor")
        _DEFINED.append(library)


def _is_there(name: str, folder: Path) -> bool:
    """Whether torchvision's own library, once loaded, has an operator."""
    for file in folder.glob("_C*.so"):
        try:
            torch.ops.load_library(file)  # type: ignore[no-untyped-call]
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, name)


def is_installed(name: str) -> bool:
    """Whether a library is there to be imported."""
    return importlib.util.find_spec(name) is not None


def version_of(name: str) -> str:
    """The release of a library that is there."""
    distribution = {"open_clip": "open_clip_torch"}.get(name, name)
    return importlib.metadata.version(distribution).partition("+")[0]
