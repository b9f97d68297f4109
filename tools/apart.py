"""Work on one model type after the other, each in a process of its own with a limit on time and memory."""

from __future__ import annotations

import io
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one type may take.

    Attributes:
        seconds: On the clock.
        memory: Address space, in bytes.
    """

    seconds: int
    memory: int


def apart(
    names: Sequence[str], work: Callable[[str], Found], jobs: int, limits: Limits
) -> Iterator[tuple[str, Found | str]]:
    """What `work` made of each name, in the order they finish; where its process ended otherwise, why.

    Args:
        names: What is worked on.
        work: Must return something that can be pickled, and print nothing.
        jobs: How many run side by side.
        limits: What each may take.
    """
    context = multiprocessing.get_context("fork")  # what was imported once is not imported again per type
    waiting = list(reversed(names))
    running: dict[Connection, tuple[str, BaseProcess, float]] = {}
    while waiting or running:
        while waiting and len(running) < max(1, jobs):
            name = waiting.pop()
            receiving, sending = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(target=_work, args=(work, name, limits.memory, sending))
            process.start()
            sending.close()
            running[receiving] = (name, process, time.monotonic() + limits.seconds)
        ready = wait(list(running), timeout=1.0)
        late = [one for one, (_, _, end) in running.items() if one not in ready and time.monotonic() > end]
        for connection in [*(one for one in running if one in ready), *late]:
            name, process, _ = running.pop(connection)
            yield name, _received(process, connection, limits.seconds if connection in late else None)


def _received(process: BaseProcess, connection: Connection, late: int | None) -> Found | str:
    """What a process sent; or why it sent nothing, `late` being the seconds after which it is ended."""
    if late is not None:
        process.kill()
        process.join()
        return f"took more than {late} s"
    try:
        found: Found = connection.recv()
    except EOFError:
        process.join()
        return f"the process ended with code {process.exitcode}"
    process.join()
    return found


def _work(work: Callable[[str], Found], name: str, memory: int, connection: Connection) -> None:
    """Work on one name in this process, under the memory limit, and send what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    sys.stdout = sys.stderr = io.StringIO()
    connection.send(work(name))
    connection.close()
