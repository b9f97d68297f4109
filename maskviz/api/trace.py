"""A trace that can be looked at: in a notebook, in the terminal, as a figure, as a file. Needs no torch."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page
from maskviz.core.results.results import Comparison
from maskviz.core.run import trace as core
from maskviz.core.words import Scale, Style
from maskviz.store.archive import json_bytes, npz_bytes, read_npz
from maskviz.store.files import check_writable, write_whole
from maskviz.store.saved import Saved
from maskviz.view.paper import for_paper
from maskviz.view.show import Choice, WhatIf, show_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from maskviz.render.image.page import ImageFormat, Layout

# Columns of a .txt file, as the command line writes it.
_TEXT_WIDTH = 100
_LEAST_DPI, _MOST_DPI = 30, 1200

Numbers = int | str | Iterable[int] | None


class Picture(TypedDict, total=False):
    """The part of a trace that is drawn, and how.

    Attributes:
        layer, head: A number, several, or a selection such as "0,2-4,-1"; None for all.
        stack: "encoder", "decoder" or "cross"; None for all.
        text: Number of the text of a batch, from 1.
        scale: "linear" or "log".
        title: Of the page; None for the text itself.
        dpi: Device pixels per inch of a figure, 150 unless given.
        style: Of a figure: "screen", or "paper" for one as wide as a column with one caption that has the facts.
        columns: Columns of a paper a figure takes, 1 or 2.
    """

    layer: Numbers
    head: Numbers
    stack: str | None
    text: int | None
    scale: str | None
    title: str | None
    dpi: int
    style: str
    columns: int | None


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
        from maskviz.render.terminal.page import to_screen

        to_screen(self._page(picture))

    def figure(self, **picture: Unpack[Picture]) -> Figure:
        """The picture `save("x.png")` writes, as a matplotlib Figure that pyplot knows nothing of and notebooks show.

        Raises:
            UsageError: there is no such layer, head, stack or text.
        """
        from maskviz.render.image.page import figure

        page, dpi, layout = self._drawn(picture)
        return figure(page, dpi=dpi, layout=layout)

    def save(self, path: str | os.PathLike[str], **picture: Unpack[Picture]) -> Path:
        """Write the trace to a file, whole or not at all.

        .npz and .json hold the run, .html the report, .png, .svg, .pdf and .txt pictures of the part that is chosen.

        Returns:
            The path.

        Raises:
            UsageError: another suffix, or no such layer, head, stack or text.
            NotFoundError: it cannot be written there.
        """
        place = Path(path)
        check_writable(place)
        write_whole(place, self._content(place, picture))
        return place

    def saved(self) -> Saved:
        """The run as `maskviz show -o run.npz` saves it."""
        own = core.Trace(**{one.name: getattr(self, one.name) for one in fields(core.Trace)})
        return Saved(own, self.before, self.change, self.names)

    def _content(self, place: Path, picture: Picture) -> bytes:
        match place.suffix.lower():
            case ".npz":
                return npz_bytes(self.saved())
            case ".json":
                return json_bytes(self.saved())
            case ".html":
                return self._report(picture)
            case ".txt":
                from maskviz.render.terminal.page import plain_text

                return plain_text(self._page(picture), _TEXT_WIDTH).encode()
            case ".png":
                return self._image("png", picture)
            case ".svg":
                return self._image("svg", picture)
            case ".pdf":
                return self._image("pdf", picture)
        raise UsageError(
            f"cannot tell the format of {str(place)!r}", "end it in one of .npz .json .html .png .svg .pdf .txt"
        )

    def _image(self, format: ImageFormat, picture: Picture) -> bytes:
        from maskviz.render.image.page import image_bytes

        page, dpi, layout = self._drawn(picture)
        return image_bytes(page, format, dpi=dpi, layout=layout)

    def _drawn(self, picture: Picture) -> tuple[Page, int, Layout]:
        from maskviz.render.image.page import SCREEN, layout_of

        page, style, columns = self._page(picture), picture.get("style", Style.SCREEN), picture.get("columns")
        if style not in list(Style):
            raise UsageError(f"there is no style {style!r}", "it is screen or paper")
        dpi, layout = picture.get("dpi", 150), layout_of(Style(style), columns)
        if not _LEAST_DPI <= dpi <= _MOST_DPI:
            raise UsageError(f"a figure cannot have {dpi} dpi", f"give {_LEAST_DPI} to {_MOST_DPI}")
        return for_paper(page) if layout is not SCREEN else page, dpi, layout

    def _page(self, picture: Picture) -> Page:
        return show_page(self, _choice(picture), what_if_of(self.saved()))

    def _report(self, picture: Picture) -> bytes:
        from maskviz.render.html import html_bytes
        from maskviz.view.report import report_of

        return html_bytes(report_of(self, _choice(picture), what_if_of(self.saved())))

    def _repr_html_(self) -> str:
        """The report in a frame of its own: nothing of it reaches the notebook's page, and it reaches no network."""
        page = html.escape(self._report({}).decode(), quote=True)
        style = "width:100%;height:640px;border:0"
        return f'<iframe sandbox="allow-scripts" title="maskviz report" style="{style}" srcdoc="{page}"></iframe>'

    def _repr_png_(self) -> bytes:
        """For front ends that show no HTML."""
        return self._image("png", {"dpi": 100})


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


def _choice(picture: Picture) -> Choice:
    unknown = sorted(set(picture) - set(Picture.__annotations__))
    if unknown:
        raise TypeError(f"got an unexpected keyword argument {unknown[0]!r}")
    scale = picture.get("scale")
    if scale is not None and scale not in [one.value for one in Scale]:
        raise UsageError(f"there is no scale {scale!r}", "it is linear or log")
    return Choice(
        _selection(picture.get("layer")),
        _selection(picture.get("head")),
        picture.get("stack"),
        picture.get("text"),
        None if scale is None else Scale(scale),
        picture.get("title"),
    )


def _selection(numbers: Numbers) -> str | None:
    if numbers is None or isinstance(numbers, str):
        return numbers
    return str(numbers) if isinstance(numbers, int) else ",".join(map(str, numbers))
