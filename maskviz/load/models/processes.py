"""The processes that torchrun started, joined while they work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from maskviz.core.errors import ExitCode, FailedElsewhereError
from maskviz.core.run.processes import Share

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

# One process may wait for another's texts as long as these take: one that has died is noticed without a clock.
_PATIENCE = timedelta(days=1)


@contextmanager
def in_processes(*, splits: bool = True) -> Iterator[Share]:
    """Join the processes torchrun started, gloo on the CPU and nccl on CUDA, until the block ends in this one.

    With one process nothing is joined. The device of a process is the one torchrun's LOCAL_RANK numbers.

    Args:
        splits: Whether texts are dealt out over the processes, as `Share` has it.

    Raises:
        FailedElsewhereError: the block failed here after another process's had, whose error is the one to say.
    """
    share = Share.of_environment(splits=splits)
    if share.world == 1:
        yield share
        return
    from torch import distributed

    on_cuda = torch.cuda.is_available() and distributed.is_nccl_available()
    if on_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store = next(distributed.rendezvous("env://"))[0]  # type: ignore[attr-defined]
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if on_cuda else "gloo",
        store=distributed.PrefixStore("group", store),  # type: ignore[attr-defined]
        rank=share.rank,
        world_size=share.world,
        timeout=_PATIENCE,
    )
    try:
        yield share
    except Exception as error:
        code = int(getattr(error, "exit_code", ExitCode.BUG))
        first = _code_of_first_failure(store, code)
        if first is not None:
            raise FailedElsewhereError(first) from error
        raise
    finally:
        distributed.destroy_process_group()


def _code_of_first_failure(store: Store, code: int) -> int | None:
    """None where this process, which ends with some exit code, is the first to fail; else the first one's code."""
    with suppress(RuntimeError):  # the store may have gone with the process that failed
        if store.add("failures", 1) == 1:
            store.set("exit_code", str(code))
            return None
        return int(store.get("exit_code"))
    return int(ExitCode.BUG)
