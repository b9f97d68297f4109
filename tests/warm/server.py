"""The warm process: it has imported what every command needs, and forks for each that asks.

Each command is a process of its own, with its own arguments, folder, variables, streams and exit code: all but the
seconds in which the libraries are imported. What those read from the environment while they are imported stays as it
was when this process started; a command that asks for another value of it is refused.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer.main

import maskviz
from maskviz.cli.app import app

# What is imported only while a command runs, beside the modules of maskviz.
LIBRARIES = (
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama",
    "transformers.models.t5.modeling_t5",
    "matplotlib.figure",
    "matplotlib.font_manager",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "pydantic",
)
# Names of variables that libraries read while they are imported.
READ_ONCE = ("HF_", "TRANSFORMERS_", "TORCH_", "OMP_", "MPL", "PYTHON")


def modules() -> list[str]:
    """Every module of maskviz that does nothing when it is imported."""
    found = (one.name for one in pkgutil.walk_packages(maskviz.__path__, "maskviz."))
    return [name for name in found if not name.endswith("__main__")]


def commands(door: socket.socket) -> dict[str, Any]:
    """Wait for commands and fork for each. Returns in the fork, with what is asked of it."""
    children: dict[int, socket.socket] = {}
    ended, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    with selectors.DefaultSelector() as waiting:
        for source in (door.fileno(), ended, sys.stdin.fileno()):
            waiting.register(source, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in waiting.select()}
            if sys.stdin.fileno() in ready:  # closed: whoever started this has ended
                os._exit(0)
            if ended in ready:
                os.read(ended, 4096)
                tell_ended(children)
            if door.fileno() in ready:
                line = door.accept()[0]
                streams = socket.recv_fds(line, 1, 3)[1]
                with line.makefile("rb") as said:
                    wanted = said.read()
                child = os.fork()
                if not child:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    return {**json.loads(wanted), "streams": streams}
                children[child] = line
                for stream in streams:
                    os.close(stream)


def tell_ended(children: dict[int, socket.socket]) -> None:
    """Tell those whose command has ended how it did, below 0 for a signal."""
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with children.pop(child) as line, suppress(OSError):  # whoever asked may be gone
            line.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def become(streams: list[int], folder: str, variables: dict[str, str]) -> None:
    """Be as a process is that was just started with these streams, in this folder, with these variables."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        opened = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", opened)
    others = [name for name in sorted({*variables, *os.environ}) if name.startswith(READ_ONCE)]
    if others := [name for name in others if variables.get(name) != os.environ.get(name)]:
        sys.exit(f"the libraries were imported under another {', '.join(others)}")
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)


def program(name: str, *words: str) -> None:
    """Do what `maskviz` and `python` do when some words follow."""
    if name == "maskviz":
        sys.argv = [name, *words]
        sys.path[0] = str(Path(sys.executable).parent)
        runpy.run_module("maskviz", run_name="__main__")
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.path[0] = ""
        exec(words[1], {"__name__": "__main__"})
    elif words[0] == "-":
        sys.argv = [*words]
        sys.path[0] = ""
        exec(sys.stdin.read(), {"__name__": "__main__"})
    else:
        sys.argv = [*words]
        sys.path[0] = str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")


def ended(words: list[str]) -> int:
    """The exit code of a program, which has said what is wrong as Python says it."""
    try:
        program(*words)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    for library in (*LIBRARIES, *modules()):
        importlib.import_module(library)
    typer.main.get_command(app)
    gc.freeze()  # what is imported is looked through in no fork
    wanted = commands(socket.socket(fileno=int(sys.argv[1])))
    become(wanted["streams"], wanted["folder"], wanted["variables"])
    code = ended(wanted["words"])
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # taking all modules apart takes longer than most commands
