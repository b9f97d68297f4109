"""The processes torchrun started, as one command: one speaks, and the first that fails says why. Imports torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from maskviz.core.errors import FailedElsewhereError
from maskviz.core.run.processes import Share
from maskviz.core.words import Parallel
from maskviz.load.models.processes import in_processes


@contextmanager
def working_together(parallel: Parallel | None) -> Iterator[Share]:
    """Join the processes torchrun started while the block runs; alone, there is nothing to join.

    Args:
        parallel: How the model is spread; unless over processes, its texts are.
    """
    try:
        with in_processes(splits=parallel is not Parallel.TP) as share:
            yield share
    except FailedElsewhereError:
        raise
    except Exception:
        if sys.__stderr__ is not None and Share.of_environment().world > 1:
            sys.stderr = sys.__stderr__  # it is this process that has to say what is wrong
        raise
