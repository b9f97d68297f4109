"""A run that can be looked at: in a notebook, in the terminal, as a figure, as a file. Needs no torch."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, Unpack

from maskviz.analyse.long import read_long
from maskviz.analyse.standing_out import HeadRoles, head_roles, standing_out
from maskviz.api.answer import Answer, read_back
from maskviz.api.together import refuse_detail
from maskviz.core.checks.findings import Checked
from maskviz.core.drawing import Drawing
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page, Panel
from maskviz.core.panels.regions import parse_region
from maskviz.core.results.head_roles import ProminentHead
from maskviz.core.results.results import Comparison, Proof
from maskviz.core.run import trace as core
from maskviz.core.run.long import LongTrace
from maskviz.core.words import Only, Scale, Severity, Style
from maskviz.core.writing import parameter
from maskviz.store.archive import json_bytes, npz_bytes, read_npz, read_run
from maskviz.store.saved import Saved
from maskviz.view.choosing import Choice, drawn_row
from maskviz.view.findings import findings_page
from maskviz.view.long.page import long_page
from maskviz.view.masks.proof import proof_panels
from maskviz.view.show import WhatIf, show_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AnyRun = Saved | LongTrace
Numbers = int | str | Iterable[int] | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ShownRun(Answer):
    """A run as it is drawn, with what else was asked of it.

    Attributes:
        run: The run, or one over a long text.
        choice: What of it is drawn.
        checked: What `check` found in it, or None.
        proof: Whether its masks are what the model does, or None.
        more: Panels on what other backends would be handed.
    """

    DATA: ClassVar[tuple[str, ...]] = (".html", ".json", ".npz")
    run: AnyRun
    choice: Choice = field(default_factory=Choice)
    checked: Checked | None = None
    proof: Proof | None = None
    more: Sequence[Panel] = ()
    _roles: dict[int, HeadRoles] = field(default_factory=dict, init=False)  # by text; read once for all files

    @property
    def problems(self) -> bool:
        """Whether a mask is not what the model does, or the check found an error."""
        wrong = self.checked is not None and self.checked.count(Severity.ERROR) > 0
        return wrong or (self.proof is not None and not self.proof.proven)

    def page(self) -> Page:
        """The page that `maskviz show` prints."""
        if isinstance(self.run, LongTrace):
            if self.choice.lines:
                raise UsageError(f"{parameter('lines')} draws each weight, and a long run keeps none", "leave it out")
            return long_page(self.run, read_long(self.run, drawn_row(self.run.batch, self.choice)), self.choice)
        findings = () if self.checked is None else findings_page(self.checked).panels
        more = [*findings, *self._asked()]
        return shown_page(self.run.trace, self.choice, what_if_of(self.run), more, self._head_roles)

    def to_dict(self) -> dict[str, Any]:
        """The run as `.json` holds it."""
        return read_back(json_bytes(self.run))

    def data(self, suffix: str, command: str = "") -> bytes:
        """`.npz` and `.json` hold the run, `.html` the report.

        Raises:
            UsageError: a report of a run that kept no whole maps.
        """
        match suffix:
            case ".npz":
                return npz_bytes(self.run)
            case ".json":
                return json_bytes(self.run)
        if isinstance(self.run, LongTrace):
            raise UsageError("a report shows every cell, and a long run keeps none", "draw it with -o run.png")
        from maskviz.render.html import html_bytes
        from maskviz.view.report import Beside, report_of

        trace, roles = self.run.trace, self._head_roles()
        prominent = standing_out(trace, drawn_row(trace.batch, self.choice), roles)
        beside = Beside(self.checked, self._asked(), prominent, roles)
        return html_bytes(report_of(trace, self.choice, what_if_of(self.run), command, beside))

    def _head_roles(self) -> HeadRoles:
        """The roles of every head on the text that is drawn."""
        assert isinstance(self.run, Saved)
        row = drawn_row(self.run.trace.batch, self.choice)
        if row not in self._roles:
            self._roles[row] = head_roles(self.run.trace, row)
        return self._roles[row]

    def _asked(self) -> list[Panel]:
        trace = None if isinstance(self.run, LongTrace) else self.run.trace
        proof = [] if self.proof is None or trace is None else proof_panels(self.proof, trace)
        return [*self.more, *proof]


def shown_page(
    trace: core.Trace,
    choice: Choice,
    what_if: WhatIf | None = None,
    more: Sequence[Panel] = (),
    roles: Callable[[], HeadRoles] | None = None,
) -> Page:
    """The page of a run, see `show_page`; unless heads were named, with those that stand out.

    `roles` gives those of the text that is drawn; None has them read.
    """
    prominent: tuple[ProminentHead, ...] = ()
    if not choice.named and choice.only is not Only.MASK and (what_if is None or choice.lines):
        prominent = standing_out(trace, drawn_row(trace.batch, choice), None if roles is None else roles())
    return show_page(trace, choice, what_if, more, prominent)


def read_back_run(path: Path, choice: Choice, region: str | None = None) -> ShownRun:
    """A saved run as it is drawn.

    Args:
        path: A .npz that `show -o` wrote.
        choice: What of it is drawn.
        region: Queries and keys, such as "1000:1200,0:400"; None for all.

    Raises:
        NotFoundError: the file is missing, damaged, or no saved run.
        UsageError: the run has no such region.
    """
    run = read_run(path)
    return ShownRun(run, with_region(choice, run, region))


def with_region(choice: Choice, run: AnyRun, region: str | None) -> Choice:
    """A choice with the region that was written, if one was.

    Raises:
        UsageError: the run has no such region.
    """
    return choice if region is None else replace(choice, region=parse_region(region, *_sizes_of(run)))


def _sizes_of(run: AnyRun) -> tuple[int, int]:
    """The most queries and the most keys a region of a run may have, counted from the first token of the text."""
    if isinstance(run, LongTrace):
        return max(call.queries for call in run.calls), max(call.keys for call in run.calls)
    masks = [call.mask for call in run.trace.calls]
    if not masks:
        raise UsageError("there is no mask to draw a region of", f"leave out {parameter('region')}")
    return (
        max(mask.query_offset + mask.visible.shape[2] for mask in masks),
        max(mask.visible.shape[3] for mask in masks),
    )


class Picture(TypedDict, total=False):
    """The part of a trace that is drawn, and how.

    Attributes:
        layer, head: A number, several, or a selection such as "0,2-4,-1"; None for all.
        stack: "encoder", "decoder" or "cross"; None for all.
        text: Number of the text of a batch, from 1.
        scale: "linear" or "log".
        title: Of the page; None for the text itself.
        region: Queries and keys, such as "1000:1200,0:400"; None for all.
        dpi: Device pixels per inch of a figure, 150 unless given.
        style: Of a figure: "screen", or "paper" for one as wide as a column with one caption that has the facts.
        columns: Columns of a paper a figure takes, 1 or 2.
        all: Draw every head and every mask, and not those alone that stand out.
        brief: Draw a first look in a few lines.
        only: "mask" or "attention", None for both.
        lines: Draw attention as lines between tokens, of one head or the mean of a layer's.
    """

    layer: Numbers
    head: Numbers
    stack: str | None
    text: int | None
    scale: str | None
    title: str | None
    region: str | None
    dpi: int
    style: str
    columns: int | None
    all: bool
    brief: bool
    only: str | None
    lines: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Trace(core.Trace):
    """One forward pass, with what it takes to show it.

    Attributes:
        before: With a head mask, the run without it; else None.
        change: With a head mask, how the outputs and the attention moved; else None.
        names: Printable tokens of the ids that `change` lists.
    """

    before: core.Trace | None = None
    change: Comparison | None = None
    names: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, saved: Saved) -> Trace:
        """A run as it is saved, to be looked at."""
        own = {one.name: getattr(saved.trace, one.name) for one in fields(core.Trace)}
        return cls(**own, before=saved.before, change=saved.change, names=saved.names)

    def __repr__(self) -> str:
        batch, heads = self.batch, sum(call.heads for call in self.calls)
        shape = f"{batch.rows} x {batch.length} tokens, {len(self.calls)} attention calls, {heads} heads"
        return f"<Trace of {self.card.name}: {shape}>"

    def show(self, **picture: Unpack[Picture]) -> None:
        """Draw the masks and the attention in the terminal, or below a notebook's cell.

        Raises:
            UsageError: there is no such layer, head, stack or text.
        """
        self._drawn(picture)[0].show()

    def figure(self, **picture: Unpack[Picture]) -> Figure:
        """The picture `save("x.png")` writes, as a matplotlib Figure that pyplot knows nothing of and notebooks show.

        Raises:
            UsageError: there is no such layer, head, stack or text.
        """
        shown, drawing = self._drawn(picture)
        return shown.figure(dpi=drawing.dpi, style=drawing.style, columns=drawing.columns)

    def save(self, path: str | os.PathLike[str], **picture: Unpack[Picture]) -> Path:
        """Write the trace to a file, whole or not at all.

        .npz and .json hold the run, .html the report, .png, .svg, .pdf and .txt pictures of the part that is chosen.

        Returns:
            The path.

        Raises:
            UsageError: another suffix, or no such layer, head, stack or text.
            NotFoundError: it cannot be written there.
        """
        shown, drawing = self._drawn(picture)
        return shown.save(path, dpi=drawing.dpi, style=drawing.style, columns=drawing.columns)

    def to_dict(self) -> dict[str, Any]:
        """The trace as `.json` holds it."""
        return ShownRun(self.saved()).to_dict()

    def saved(self) -> Saved:
        """The run as `maskviz show -o run.npz` saves it."""
        own = core.Trace(**{one.name: getattr(self, one.name) for one in fields(core.Trace)})
        return Saved(own, self.before, self.change, self.names)

    def _drawn(self, picture: Picture) -> tuple[ShownRun, Drawing]:
        choice, saved = choice_of(picture), self.saved()
        shown = ShownRun(saved, with_region(choice, saved, picture.get("region")))
        drawing = Drawing.of(picture.get("dpi", 150), picture.get("style", Style.SCREEN), picture.get("columns"))
        return shown, drawing

    def _repr_html_(self) -> str:
        """The report in a frame of its own: nothing of it reaches the notebook's page, and it reaches no network."""
        page = html.escape(ShownRun(self.saved()).data(".html").decode(), quote=True)
        may, style = "allow-scripts allow-downloads", "width:100%;height:640px;border:0"
        return f'<iframe sandbox="{may}" title="maskviz report" style="{style}" srcdoc="{page}"></iframe>'

    def _repr_png_(self) -> bytes:
        """For front ends that show no HTML."""
        return ShownRun(self.saved())._repr_png_()


def load_trace(path: str | os.PathLike[str]) -> Trace:
    """Read a trace that `Trace.save` or `maskviz show -o run.npz` wrote. Nothing in the file is executed.

    Raises:
        NotFoundError: the file is missing, damaged, no saved run, or one over a long text.
    """
    return Trace.of(read_npz(Path(path)))


def what_if_of(saved: Saved) -> WhatIf | None:
    """What a head mask changed, as a page takes it; None where there was none."""
    if saved.before is None or saved.change is None:
        return None
    return WhatIf(saved.before, saved.change, lambda index: saved.names.get(index, str(index)))


def choice_of(picture: Picture) -> Choice:
    """What of a run is drawn, as Python says it.

    Raises:
        UsageError: there is no such scale.
        TypeError: an option there is not.
    """
    unknown = sorted(set(picture) - set(Picture.__annotations__))
    if unknown:
        raise TypeError(f"got an unexpected keyword argument {unknown[0]!r}")
    scale = picture.get("scale")
    if scale is not None and scale not in [one.value for one in Scale]:
        raise UsageError(f"there is no scale {scale!r}", "it is linear or log")
    only = picture.get("only")
    if only is not None and only not in [one.value for one in Only]:
        raise UsageError(f"there is nothing {only!r} to draw alone", "it is mask or attention")
    everything, brief, lines = picture.get("all", False), picture.get("brief", False), picture.get("lines", False)
    refuse_detail(everything=everything, brief=brief, lines=lines, only=None if only is None else Only(only))
    return Choice(
        selection(picture.get("layer")),
        selection(picture.get("head")),
        picture.get("stack"),
        picture.get("text"),
        None if scale is None else Scale(scale),
        picture.get("title"),
        everything=everything,
        brief=brief,
        only=None if only is None else Only(only),
        lines=lines,
    )


def selection(numbers: Numbers) -> str | None:
    """Numbers as a selection such as "0,2,3"; None for all."""
    if numbers is None or isinstance(numbers, str):
        return numbers
    return str(numbers) if isinstance(numbers, int) else ",".join(map(str, numbers))
