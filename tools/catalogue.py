"""The masks of every model type's default config, for `maskviz info --length` to compare with.

    python -m tools.catalogue                 all types; writes maskviz/store/catalogue.json
    python -m tools.catalogue --only t5,bert  a few types, printed

No weights are made: a default config of any size is run as it is, in a process of its own with a limit on time and
memory. A type that cannot be run on tokens alone, or whose masks depend on more than positions, is left out, and why.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import resource
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from maskviz.analyse.likeness import NotComparableError, mask_set
from maskviz.api.models.layers import layers_of
from maskviz.core.errors import MaskvizError
from maskviz.core.results.results import MaskSet
from maskviz.load.models.model import build_model, quiet
from maskviz.load.models.source import Source
from maskviz.store.catalogue import FILE, Catalogue, catalogue_text

SECONDS, MEMORY = 120, 8 << 30
# Types whose own layers compute for minutes what is then looked at for its shape: blocks laid out cell by cell, and
# linear attention in chunks.
SLOW = {"glm5_next", "glm5_next_text", "led", "longformer", "pegasus_x"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the types asked for; print or write what was found."""
    parser = argparse.ArgumentParser(prog="python -m tools.catalogue", description=__doc__)
    parser.add_argument("--only", default="", help="model types, separated by commas")
    options = parser.parse_args(arguments)
    quiet()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = [name for name in options.only.split(",") if name] or sorted(CONFIG_MAPPING)
    entries, left_out = [], {}
    for name in names:
        start = time.monotonic()
        found = apart(name)
        said = found if isinstance(found, str) else ""
        print(f"{time.monotonic() - start:5.1f} s  {name} {said}".rstrip(), file=sys.stderr, flush=True)
        if isinstance(found, str):
            left_out[name] = found
        else:
            entries.append(found)
    text = catalogue_text(Catalogue(transformers.__version__, tuple(entries), left_out))
    if options.only:
        print(text)
    else:
        FILE.write_text(text, encoding="utf-8")
    print(f"{len(entries)} types, {len(left_out)} left out")
    return 0


def masks_of_type(name: str) -> MaskSet | str:
    """The masks of a type's default config, or why there are none to compare with."""
    try:
        config = CONFIG_MAPPING[name]()
        source = Source(name, name, offline=True)
        ran = layers_of(build_model(source, config, tokenizer=False), source, config, {})
        found = mask_set(ran.trace, ran.until)
    except (MaskvizError, NotComparableError) as error:
        return f"{error}"[:120]
    except Exception as error:  # configs that are nothing without their parts raise as they like
        return f"{type(error).__name__}"
    return replace(found, name=name)


def apart(name: str) -> MaskSet | str:
    """`masks_of_type` in a process of its own, ended when its time is over."""
    if name in SLOW:
        return "takes minutes"
    context = multiprocessing.get_context("fork")  # what was imported once is not imported again per type
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(name, sending))
    process.start()
    sending.close()
    try:
        if not receiving.poll(SECONDS):
            return f"takes more than {SECONDS} s"
        found: MaskSet | str = receiving.recv()
        return found
    except EOFError:
        return "the process ended without a word"
    finally:
        process.kill()
        process.join()


def _work(name: str, connection: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.stdout = sys.stderr = io.StringIO()
    connection.send(masks_of_type(name))
    connection.close()


if __name__ == "__main__":
    sys.exit(main())
