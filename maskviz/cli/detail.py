"""How much of a run is drawn: a first look, a brief one, one thing, or all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from maskviz.api.together import refuse_detail
from maskviz.cli.parsing.groups import Group
from maskviz.core.words import Only

if TYPE_CHECKING:
    from maskviz.view.choosing import Choice


@dataclass(frozen=True, slots=True)
class DetailOptions(Group):
    """How much of a run is drawn."""

    PANEL: ClassVar[str] = "What to draw"
    everything: Annotated[
        bool, typer.Option("--all", help="Draw every head and every mask, not those alone that stand out.")
    ] = False
    brief: Annotated[bool, typer.Option("--brief", help="A first look in at most 24 lines.")] = False
    only: Annotated[Only | None, typer.Option("--only", help="A figure of one thing: the masks, or the attention.")] = (
        None
    )
    lines: Annotated[
        bool,
        typer.Option(
            "--lines", help="Draw attention as lines between tokens: of --head, or the mean of --layer's heads."
        ),
    ] = False

    def of(self, choice: Choice) -> Choice:
        """What of a run is drawn, in this detail.

        Raises:
            UsageError: all of it in few lines, or lines of a mask.
        """
        refuse_detail(everything=self.everything, brief=self.brief, lines=self.lines, only=self.only)
        return replace(choice, everything=self.everything, brief=self.brief, only=self.only, lines=self.lines)
