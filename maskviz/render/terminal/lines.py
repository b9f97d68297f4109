"""A map as lines of words: each query with the keys it looks at most."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from maskviz.core.panels.page import Heatmap, Token, TokenLines
from maskviz.core.writing import either, ranges
from maskviz.render.terminal.screen import Screen, heading, right, wrapped

_MOST_KEYS = 4  # keys of a query
_LEAST = 0.05  # of the weight: keys with less are told only where they have most
_LABEL = 18  # columns a query may take
_MOST_QUERIES = 120


def token_lines_lines(panel: TokenLines, screen: Screen) -> list[Text]:
    """Return a line for each query with the keys it looks at most, as `3 sat → 2 cat 0.81, 0 The 0.10`."""
    shown = panel.map
    real = [place for place in range(len(shown.queries)) if not shown.meaningless[place]]
    told = real[:_MOST_QUERIES]
    names = {place: screen.fit(_name(shown.queries[place], place, screen), _LABEL) for place in told}
    width = max(map(cell_len, names.values()), default=0)
    arrow = screen.words(" → ")
    lines = heading(screen, shown.title, shown.caption)
    for place in told:
        words = wrapped(_looks(shown, place, screen), max(10, screen.width - width - len(arrow)))
        for number, line in enumerate(words):
            front = right(names[place], width) + arrow if number == 0 else " " * (width + len(arrow))
            lines.append(Text.assemble((front, "bold" if number == 0 else ""), line))
    if len(real) > len(told):
        how = either("region='120:240,0:240'", "--region 120:240,0:240")
        lines.append(Text(screen.words(f"and {len(real) - len(told)} more queries: {how}"), style="dim"))
    if shown.meaningless.any():
        left_out = ranges(shown.queries[place].place or place for place in np.flatnonzero(shown.meaningless).tolist())
        lines.append(Text(screen.words(f"queries that are padding: {left_out}"), style="dim"))
    return lines


def _name(token: Token, place: int, screen: Screen) -> str:
    return f"{place if token.place is None else token.place} {screen.label(token)}"


def _looks(shown: Heatmap, query: int, screen: Screen) -> str:
    """The keys a query looks at most, with their weights."""
    seen = np.flatnonzero(~shown.blocked[query])
    weights = shown.values[query, seen]
    if not seen.size:
        return screen.words("sees no key")
    if np.isnan(weights).any():
        return screen.words("attention is not a number")
    order = np.argsort(-weights, kind="stable")[:_MOST_KEYS]
    told = [at for number, at in enumerate(order.tolist()) if number == 0 or weights[at] >= _LEAST]
    return ", ".join(f"{_name(shown.keys[seen[at]], int(seen[at]), screen)} {weights[at]:.2f}" for at in told)
