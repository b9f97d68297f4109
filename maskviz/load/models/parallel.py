"""A model over several devices, and over the processes that torchrun started."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedConfig

from maskviz.core.errors import CannotTraceError, ExitCode, FailedElsewhereError, NotFoundError, UsageError
from maskviz.core.machine import Share
from maskviz.core.run.trace import ModelCard
from maskviz.core.words import Parallel
from maskviz.core.writing import parameter

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]


_START = "torchrun --nproc-per-node 2 -m maskviz ..."


def spreading(parallel: Parallel, config: PreTrainedConfig, card: ModelCard) -> dict[str, Any]:
    """The arguments of `from_pretrained` that spread a model.

    Args:
        parallel: AUTO fills the devices of one process one after the other, by accelerate; TP deals every layer out
            over the processes, by transformers' tensor parallelism.
        config: The model's config, which holds the plan of TP.
        card: What the model is.

    Raises:
        UsageError: torchrun started one process for TP, or several for AUTO.
        NotFoundError: accelerate is not installed.
        CannotTraceError: the model has no plan for TP, or heads that cannot be dealt out evenly.
    """
    share = Share.of_environment()
    if parallel is Parallel.AUTO:
        if share.world > 1:
            raise UsageError(
                f"{parameter('parallel', 'auto')} spreads one process over all devices, "
                f"and there are {share.world} processes",
                f"leave out torchrun, or try {parameter('parallel', 'tp')}",
            )
        if importlib.util.find_spec("accelerate") is None:
            raise NotFoundError(f"{parameter('parallel', 'auto')} needs accelerate", "pip install 'maskviz[parallel]'")
        return {"device_map": "auto"}
    if share.world == 1:
        raise UsageError(
            f"{parameter('parallel', 'tp')} deals a model out over processes, and there is one",
            f"start it as {_START} {parameter('parallel', 'tp')}",
        )
    _check_plan(config, card, share.world)
    return {"distributed_config": _by_plan()}


def _check_plan(config: PreTrainedConfig, card: ModelCard, world: int) -> None:
    plans = [plan for one in _parts(config) if (plan := getattr(one, "base_model_tp_plan", None))]
    if not plans:
        raise CannotTraceError(
            f"{card.architecture} has no plan for tensor parallelism",
            f"try {parameter('parallel', 'auto')}, without torchrun",
        )
    dealt_out = any("attn" in path and style == "rowwise" for plan in plans for path, style in plan.items())
    uneven = [heads for heads in (*card.heads, *card.key_heads) if heads % world]
    if dealt_out and uneven:
        raise CannotTraceError(
            f"{uneven[0]} heads of {card.name!r} cannot be dealt out evenly over {world} processes",
            "start as many processes as divide the number of heads and of key heads",
        )


def _parts(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    """A config and those of the model's parts."""
    yield config
    for name in getattr(config, "sub_configs", None) or {}:
        part = getattr(config, name, None)
        if isinstance(part, PreTrainedConfig):
            yield part


def _by_plan() -> Any:
    try:
        from transformers.distributed.configuration_utils import DistributedConfig

        return DistributedConfig(tp_plan="auto")
    except (ImportError, TypeError) as error:
        raise CannotTraceError(
            f"this transformers does not deal out models as {parameter('parallel', 'tp')} needs it",
            "pip install -U transformers",
        ) from error


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
