"""What the terminal can show, and text cut to it: ASCII where nothing else is known, columns that stay aligned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len
from rich.color import Color, ColorSystem
from rich.console import Console
from rich.text import Span, Text

from maskviz.core.panels.page import Token
from maskviz.core.writing import printable
from maskviz.render.palette import (
    BASIC_COLOURS,
    Swatch,
)

# Words of titles and captions; anything else becomes an escape.
_ASCII_WORDS = str.maketrans({
    "∧": "and", "∨": "or", "¬": "not ", "·": "-", "×": "x", "–": "-", "—": "-", "−": "-", "…": "...", "±": "+-",
    "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf", "“": '"', "”": '"', "‘": "'",
    "’": "'", "•": "*", "⏎": "\\n", "⇥": "\\t", "␍": "\\r", "²": "^2", "Δ": "delta", "✂": "cut", "✓": "ok",
})  # fmt: skip
# In a token a dot is a dot: only the symbols that stand for control characters are turned back.
_ASCII_TOKEN = str.maketrans({"⏎": "\\n", "⇥": "\\t", "␍": "\\r", "…": "..."})
# Terminals disagree about what joiners and variation selectors do to the width, so columns go without them.
_WIDTH_CHANGERS = str.maketrans("", "", "\u200d\ufe0e\ufe0f")


@dataclass(frozen=True, slots=True)
class Screen:
    """A terminal as the drawing code sees it.

    Attributes:
        width: Columns; nothing may be wider.
        height: Lines a picture should fit, or None where it may be as long as it likes.
        ascii_only: Whether nothing but ASCII may be written.
        shaded: Whether values have to be told by characters, for want of enough colours.
        colour_system: Rich's name of the colours the terminal knows, None where it knows none.
        rows: Rows a picture may have, None for what `height` allows.
        tokens: Tokens of a text that are written out; a page of them is read by nobody.
    """

    width: int
    height: int | None
    ascii_only: bool
    shaded: bool
    colour_system: str | None = None
    rows: int | None = None
    tokens: int = 60

    @classmethod
    def of(cls, console: Console, height: int | None) -> Screen:
        """Return what `console` can show."""
        many_colours = console.color_system in ("truecolor", "256") and not console.no_color
        ascii_only = console.options.ascii_only
        return cls(max(20, console.width), height, ascii_only, not many_colours, console.color_system)

    def words(self, text: str) -> str:
        """Return text of titles, captions and notes as this screen can show it."""
        return self._known(printable(text), _ASCII_WORDS)

    def token(self, token: Token) -> str:
        """Return a token's text as this screen can show it, spaces at its ends made visible."""
        text = printable(token.text).translate(_WIDTH_CHANGERS)
        return self._known(with_visible_spaces(text, "_" if self.ascii_only else "·"), _ASCII_TOKEN)

    def label(self, token: Token) -> str:
        """Return a token's text for an axis: without the spaces around it, unless it is nothing else."""
        bare = printable(token.text).strip()
        return self.token(Token(bare)) if bare else self.token(token)

    def mark(self, swatch: Swatch) -> str:
        """Return the character of a swatch."""
        return swatch.ascii_character if self.ascii_only else swatch.character

    def fit(self, text: str, width: int) -> str:
        """Return `text` cut to at most `width` columns, an ellipsis at the cut."""
        if cell_len(text) <= width:
            return text
        ellipsis = "..." if self.ascii_only else "…"
        kept, used = [], len(ellipsis)
        for character in text:
            used += cell_len(character)
            if used > width:
                break
            kept.append(character)
        return "".join(kept) + ellipsis[: max(0, width)]

    def coloured(self, line: Text) -> Text:
        """Return a line whose colours are the nearest this terminal knows."""
        line.spans = [Span(span.start, span.end, _nearest(str(span.style), self.colour_system)) for span in line.spans]
        line.style = _nearest(str(line.style), self.colour_system)
        return line

    def wrap(self, text: str) -> list[str]:
        """Return `text` in lines of at most the screen's width, broken at spaces where there are any."""
        return wrapped(text, self.width)

    def _known(self, text: str, table: dict[int, str]) -> str:
        if not self.ascii_only:
            return text
        return text.translate(table).encode("ascii", "backslashreplace").decode("ascii")


@lru_cache(maxsize=4096)
def _nearest(style: str, colour_system: str | None) -> str:
    """Return a style with each "#rrggbb" as "color(n)" where the terminal has only so many.

    Rich could do this itself, but keeps the codes of the first console that draws a style for all that follow.
    """
    system = {"256": ColorSystem.EIGHT_BIT, "standard": ColorSystem.STANDARD}.get(colour_system or "")
    if system is None:
        return style

    def number(colour: re.Match[str]) -> str:
        if system is ColorSystem.STANDARD and colour[0] in BASIC_COLOURS:
            return f"color({BASIC_COLOURS[colour[0]]})"
        return f"color({Color.parse(colour[0]).downgrade(system).number})"

    return re.sub("#[0-9a-f]{6}", number, style)


def with_visible_spaces(text: str, sign: str) -> str:
    """Return `text` with each space at its start and end replaced by `sign`."""
    start = len(text) - len(text.lstrip(" "))
    if start == len(text):
        return sign * start
    end = len(text) - len(text.rstrip(" "))
    return sign * start + text.strip(" ") + sign * end


def wrapped(text: str, width: int) -> list[str]:
    """Return `text` in lines of at most `width` columns; words longer than a line are broken."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if cell_len(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        *full, line = _broken(word, width)
        lines.extend(full)
    return [*lines, line]


def _broken(word: str, width: int) -> list[str]:
    """Return a word in pieces of at most `width` columns."""
    pieces = [""]
    for character in word:
        if cell_len(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


def right(text: str, width: int) -> str:
    """Return `text` filled with spaces on the left up to `width` columns."""
    return " " * max(0, width - cell_len(text)) + text


def left(text: str, width: int) -> str:
    """Return `text` filled with spaces on the right up to `width` columns."""
    return text + " " * max(0, width - cell_len(text))


def flowed(parts: list[Text], width: int, gap: int = 3) -> list[Text]:
    """Return the parts side by side in lines of at most `width` columns."""
    lines: list[Text] = []
    for part in parts:
        part.truncate(width)
        if lines and lines[-1].cell_len + gap + part.cell_len <= width:
            lines[-1].append(" " * gap)
            lines[-1].append_text(part)
        else:
            lines.append(part)
    return lines


def heading(screen: Screen, title: str, caption: str) -> list[Text]:
    """Return a panel's title in bold and its caption dimmed, both wrapped; nothing for what is empty."""
    bold = [Text(line, style="bold") for line in screen.wrap(screen.words(title))] if title else []
    dim = [Text(line, style="dim") for line in screen.wrap(screen.words(caption))] if caption else []
    return bold + dim


def short_name(name: str) -> str:
    """Return "h3" for "head 3", a name without a number at its end as it is."""
    words = name.split()
    return words[0][0] + words[-1] if len(words) > 1 and words[-1].isdigit() else name
