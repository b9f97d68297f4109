"""Two masks beside each other as a block of a figure."""

from __future__ import annotations

import numpy as np

from maskviz.core.panels.page import DiffGrid
from maskviz.render.fold import fold_differences
from maskviz.render.image.canvas import Block, Paper, flowed, heading, stacked
from maskviz.render.image.grid import axes_for, grid_block
from maskviz.render.image.legend import patch
from maskviz.render.palette import DIFFERENCES, MEANINGLESS, greyed, rgb

_WORDS = ("neither", "only A", "only B", "both")


def diff_block(panel: DiffGrid, paper: Paper) -> Block:
    """Return the grid with a legend that counts its cells."""
    axes = axes_for(panel.queries, panel.keys, paper)
    codes, meaningless = fold_differences(panel.codes, panel.meaningless, axes.tile)
    colours = np.array([rgb(swatch.fill) for swatch in DIFFERENCES], np.uint8)[codes]
    colours[meaningless] = greyed(colours[meaningless])
    grid = grid_block(colours, axes)
    room = paper.room(grid.width, 2.4)
    patches = [patch(DIFFERENCES[code].fill, f"{_WORDS[code]} {panel.counts[code]:,}", paper) for code in (1, 2, 3, 0)]
    if meaningless.any():
        patches.append(patch(MEANINGLESS.fill, "grey rows: query is padding", paper))
    folded = f"each place is {axes.tile} cells and shows one that differs, the rarer kind first"
    note = heading("", folded if axes.tile.folds else "", paper, room)
    caption = heading(panel.title, panel.caption, paper, room)
    return stacked([caption, grid, flowed(patches, room, 0.15), note], 0.07)
