"""A shell whose `maskviz` and `python` come out of a process that has imported the libraries once."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True, slots=True)
class Shell:
    """bash in a terminal of 80 columns without colour or network.

    Attributes:
        home: What huggingface takes for its home.
        variables: What commands find in their environment.
    """

    home: Path
    variables: dict[str, str]

    def run(self, command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a line, or several, in a folder."""
        environment = {**self.variables, **variables}
        return subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )


def variables(home: Path, programs: Path) -> dict[str, str]:
    """An environment in which `maskviz` and `python` are those of a folder."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "LINES")}
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), kept.get("PATH", "")))
    return kept | {"PATH": path, "COLUMNS": "80", "NO_COLOR": "1", "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}


@contextmanager
def warm_shell(folder: Path) -> Iterator[Shell]:
    """Start the process behind a shell, with an empty folder for what belongs to it."""
    home, programs, address = folder / "home", folder / "bin", folder / "socket"
    home.mkdir()
    programs.mkdir()
    for name in ("maskviz", "python"):
        words = (sys.executable, "-I", "-S", str(HERE / "ask.py"), str(address), name)
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    shell = Shell(home, variables(home, programs))
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(address))
        door.listen(64)
        server = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), str(door.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[door.fileno()],
            env=shell.variables,
            cwd=ROOT,
        )
    yield shell
    assert server.stdin
    server.stdin.close()  # it ends with that
    assert server.wait() == 0
