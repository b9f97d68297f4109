"""The part of a mask or a map that a region names."""

from __future__ import annotations

from dataclasses import replace

from maskviz.core.arrays import top_value
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import HeadGrid, Heatmap
from maskviz.core.run.long import Region
from maskviz.core.run.trace import AttentionCall


def region_words(region: Region) -> str:
    """The region with its last tokens counted in, as people say it."""
    return f"queries {region.first_query}-{region.last_query - 1}, keys {region.first_key}-{region.last_key - 1}"


def part_of(call: AttentionCall, region: Region) -> Region:
    """The part of a region that a call has, whose queries may follow those of a cache.

    Raises:
        UsageError: the call has no such queries or keys.
    """
    queries, keys = call.mask.visible.shape[2:]
    offset = call.mask.query_offset
    part = Region(
        max(region.first_query, offset),
        min(region.last_query, offset + queries),
        region.first_key,
        min(region.last_key, keys),
    )
    if part.first_query >= part.last_query or part.first_key >= part.last_key:
        raise UsageError(
            f"region {region} is outside the attention of {call.stack} layer {call.layer}",
            f"it has queries {offset} to {offset + queries - 1} and keys 0 to {keys - 1}",
        )
    return part


def cells_of(call: AttentionCall, part: Region) -> tuple[slice, slice]:
    """Where a part lies along the query and key axes of a call's masks and maps."""
    offset = call.mask.query_offset
    return slice(part.first_query - offset, part.last_query - offset), part.keys


def cut_map(panel: Heatmap, call: AttentionCall, region: Region) -> Heatmap:
    """The part of a map, on a scale of its own."""
    part = part_of(call, region)
    down, across = cells_of(call, part)
    values, meaningless = panel.values[down, across], panel.meaningless[down]
    return replace(
        panel,
        title=f"{panel.title}, {region_words(part)}",
        caption="a part of the map",
        values=values,
        blocked=panel.blocked[down, across],
        queries=panel.queries[down],
        keys=panel.keys[across],
        meaningless=meaningless,
        top=top_value([values[~meaningless]]),
    )


def cut_grid(grid: HeadGrid, calls: list[AttentionCall], region: Region) -> HeadGrid:
    """The part of each map of a grid whose rows are `calls`, on a scale of their own."""
    tiles = []
    for tile in grid.tiles:
        call = calls[tile.row]
        down, across = cells_of(call, part_of(call, region))
        tiles.append(
            replace(
                tile,
                values=tile.values[down, across],
                blocked=tile.blocked[down, across],
                meaningless=tile.meaningless[down],
            )
        )
    title = f"{grid.title}, {region_words(part_of(calls[0], region))}"
    return replace(grid, title=title, tiles=tuple(tiles), top=top_value(one.values[~one.meaningless] for one in tiles))
