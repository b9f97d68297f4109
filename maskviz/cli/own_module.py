"""The options of a module of the user's own, which takes the place of a model by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from maskviz.cli.env import Env
from maskviz.cli.options import TextOptions
from maskviz.cli.parsing.groups import GivenOptions, Group
from maskviz.core.errors import UsageError

if TYPE_CHECKING:
    from maskviz.api.runs.own import Own


@dataclass(frozen=True, slots=True)
class OwnOptions(Group):
    """A torch module or Keras model of the user's own in the place of a model by name."""

    PANEL: ClassVar[str] = "A module of your own"
    module: Annotated[
        str | None,
        typer.Option(
            "--module",
            metavar="FILE.py:NAME",
            help="Callable that returns a torch module or a Keras model, or package.module:NAME. Runs that Python.",
        ),
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Names of its positions: .json of strings, a row each, or a text of one a line."),
    ] = None
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Rows of its batch, where its calls leave two readings.")
    ] = None
    num_heads: Annotated[int | None, typer.Option("--num-heads", min=1, help="Heads of its attention, likewise.")] = (
        None
    )
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Where its own Python fails, print the whole traceback.")
    ] = False

    def own(self, env: Env, typed: GivenOptions, text: TextOptions) -> Own | None:
        """The module that is asked for; None where a model is asked for by name.

        Raises:
            UsageError: something is asked of it that is for models by name, or something of it without it.
            NotFoundError: there is no such module.
        """
        env.traceback = self.traceback
        if self.module is None:
            others = {"labels": "--labels", "batch_size": "--batch-size", "num_heads": "--num-heads"}
            wrong = next((option for name, option in others.items() if name in typed.names), None)
            if wrong is not None:
                raise UsageError(f"{wrong} is of a module of your own", "add --module FILE.py:NAME")
            return None
        beside = typed.besides(_OF_OWN)
        if beside is not None:
            given = beside.replace("_", "-") if beside != "texts" else None
            what = "a text" if given is None else f"--{given}"
            raise UsageError(f"--module and {what} are given together", f"{what} is for models of transformers")

        from maskviz.api.runs.own import own_named  # torch and transformers start here

        return own_named(
            self.module, text.inputs, labels=self.labels, batch_size=self.batch_size, num_heads=self.num_heads
        )


# What goes with a module of the user's own: nothing of texts, of models by name, of runs with a cache.
_OF_OWN = frozenset(
    {"module", "inputs", "labels", "batch_size", "num_heads", "traceback", "output", "quiet", "head_mask", "prove"}
    | {"check", "layer", "head", "stack", "text", "scale", "title", "region", "all", "everything", "brief", "only"}
    | {"lines", "dpi", "style", "columns", "by", "top", "mean", "rollout", "no_sink", "at", "select", "ignore"}
    | {"fail_on", "form", "meant", "pool", "rows", "max_memory", "ablation", "measure", "key_heads", "normalise"}
    | {"method", "seed", "step", "random", "rerank", "keep", "within", "save", "export"}
)
