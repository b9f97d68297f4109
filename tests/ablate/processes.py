"""Functions run in two processes joined by gloo, as torchrun would start them."""

from __future__ import annotations

import os
import pickle
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# Far above the few seconds a run takes: whoever hangs, fails.
_LIMIT = 120


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun sets, in a process that computes with one thread."""
    named = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**os.environ, **{name: str(value) for name, value in named.items()}, "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """A port nobody listens on now, below those the system gives to whoever connects, this moment's clients too."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port among a hundred")


def run_all(arguments: Sequence[Sequence[str]]) -> list[subprocess.CompletedProcess[str]]:
    """Run one Python command for each rank at the same time; what each left behind. One that hangs is killed, and has
    a negative return code."""
    port = free_port()
    started = [
        subprocess.Popen(
            [sys.executable, *some],
            env=environment(rank, len(arguments), port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, some in enumerate(arguments)
    ]

    def end_all() -> None:
        for process in started:
            process.kill()

    alarm = threading.Timer(_LIMIT, end_all)
    alarm.start()
    said = [process.communicate() for process in started]
    alarm.cancel()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *streams)
        for process, streams in zip(started, said, strict=True)
    ]


def results_of(job: str, given: Any, folder: Path, world: int = 2) -> list[Any]:
    """What a function of `tests.ablate.jobs` returns in each of several processes."""
    (folder / "given").write_bytes(pickle.dumps(given))
    done = run_all([["-c", "from tests.ablate.jobs import main; main()", job, str(folder)]] * world)
    assert [one.returncode for one in done] == [0] * world, [one.stderr[-3000:] for one in done]
    return [pickle.loads((folder / f"result.{rank}").read_bytes()) for rank in range(world)]
