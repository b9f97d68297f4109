"""The application: a map of heads, the map of one of them, and the cell under the cursor in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static
from textual.worker import get_current_worker

from maskviz.core.arrays import FloatArray, top_value
from maskviz.core.errors import MaskvizError
from maskviz.core.results.head_roles import ProminentHead
from maskviz.core.results.why import Explanation
from maskviz.core.rules.reasons import primary
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Scale
from maskviz.core.writing import plural, printable
from maskviz.explore.cell_map import CellMap, CellView
from maskviz.explore.cursor import Position, calls_of_stack
from maskviz.explore.head_map import HeadMap
from maskviz.explore.help import HelpScreen
from maskviz.explore.inline_image import PictureScreen
from maskviz.explore.key_line import Key, KeyLine
from maskviz.explore.walkable import Walkable
from maskviz.render.palette import level
from maskviz.render.terminal.screen import Screen, wrapped
from maskviz.store.saved import Saved
from maskviz.view.choosing import Choice, axes_of, card_line, drawn_row, page_title
from maskviz.view.explore import cell_lines, change_lines, moves, peaks, telling_cell
from maskviz.view.pictures import heatmap, why_words

_PEAKS = "brightness: how sharply a head looks (mean over queries of its largest weight)"
_MOVES = "brightness: how far a head's attention moved (total variation distance)"
# Lines the words on a cell, and those on a change, may take.
_CELL_LINES, _CHANGE_LINES = 7, 6


# The gates below 1, by stack, layer and head.
Gates = dict[tuple[str, int, int], float]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the view asks the world outside.

    Attributes:
        why: Why a cell of a call is visible or blocked: the trace, the call, and (row, head, query, key) on the map.
        rerun: Runs the model again with gates on heads; None where there is no model, or it has no weights.
        no_rerun: Why there is none.
        standing: The heads that stand out on a text of a run, the one that does most first.
    """

    why: Callable[[Trace, AttentionCall, tuple[int, int, int, int]], Sequence[Explanation]]
    rerun: Callable[[HeadMask], Saved] | None = None
    no_rerun: str = ""
    standing: Callable[[Trace, int], Sequence[ProminentHead]] = lambda _trace, _row: ()


class Explorer(App[None]):
    """One run, walked through with the keyboard."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #title, #card, #where, #standing { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #title { text-style: bold; }
    #card { color: $text-muted; }
    #side { width: 30%; min-width: 16; height: 1fr; }
    #heads { height: 1fr; }
    #legend { height: auto; color: $text-muted; }
    #map { height: 1fr; }
    #heads:focus, #map:focus { background: $boost; }
    #where { color: $text-muted; }
    #standing { color: $success; }
    #cell { height: auto; }
    #change { height: auto; color: $warning; }
    #keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("question_mark", "help", "help"),
        Binding("left_square_bracket", "head(-1,0)", "layer"),
        Binding("right_square_bracket", "head(1,0)", "layer"),
        Binding("comma", "head(0,-1)", "head"),
        Binding("full_stop", "head(0,1)", "head"),
        Binding("n", "next_standing", "stands out"),
        Binding("s", "stack", "stack"),
        Binding("t", "text", "text"),
        Binding("m", "mask", "mask"),
        Binding("l", "log", "log"),
        Binding("space", "switch", "on/off"),
        Binding("b", "before", "before"),
        Binding("r", "reset", "all on"),
        Binding("g", "picture", "picture"),
    ]

    def __init__(self, saved: Saved, answers: Answers) -> None:
        """Explore a run; `answers` says what it cannot work out by itself."""
        super().__init__()
        self._answers = answers
        self._plain = saved.before or saved.trace
        self._saved = saved
        self._position = Position(row=drawn_row(saved.trace.batch, Choice())).within(saved.trace)
        self._standing: dict[int, tuple[ProminentHead, ...]] = {}
        self._masks = saved.trace.calls[0].pattern is None
        self._logarithmic = False
        self._before = False
        self._gates = _gates_of(saved.trace.head_mask)
        self._asked = 0
        if self._standing_here:
            self._position = self._at(self._standing_here[0])

    @property
    def trace(self) -> Trace:
        """The run that is shown: of a what-if, before or after."""
        return self._plain if self._before else self._saved.trace

    def compose(self) -> ComposeResult:
        """The widgets, top to bottom."""
        screen = self._screen_of_terminal()
        yield Static(page_title(self._plain, Choice()), id="title", markup=False)
        yield Static(card_line(self._plain.card), id="card", markup=False)
        with Horizontal():
            with Vertical(id="side"):
                yield HeadMap(screen, id="heads")
                yield Static("", id="legend", markup=False)
            with Vertical():
                yield Static("", id="where", markup=False)
                yield Static("", id="standing", markup=False)
                yield CellMap(screen, id="map")
        yield Static("", id="cell", markup=False)
        yield Static("", id="change", markup=False)
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """Start on the map."""
        self.query_one(CellMap).focus()
        self._refresh()

    def on_resize(self) -> None:
        """Cut what is said to the new size."""
        self._refresh()

    def on_walkable_walked(self, message: Walkable.Walked) -> None:
        """Go to another cell, or to another head."""
        if isinstance(message.walkable, HeadMap):
            self.action_head(message.down, message.across)
        else:
            self._go(self._position.moved(self.trace, query=message.down, key=message.across))

    def action_head(self, layer: int, head: int) -> None:
        """Go so many layers and heads further."""
        self._go(self._position.at_head(self.trace, layer=layer, head=head))

    def action_stack(self) -> None:
        """Go to the next stack."""
        self._go(self._position.next_stack(self.trace))

    def action_next_standing(self) -> None:
        """Go to the next head that stands out, the first after the last, and to a cell of it worth reading."""
        heads = self._standing_here
        if not heads:
            self.notify("no head stands out here", markup=False)
            return
        here = self._standing_at()
        self._go(self._at(heads[(heads.index(here) + 1) % len(heads)] if here else heads[0]))

    def action_text(self) -> None:
        """Go to the next text."""
        self._go(self._position.next_text(self.trace))

    def action_mask(self) -> None:
        """Show the mask in place of attention, or attention again."""
        if self._position.of(self.trace).pattern is not None:
            self._masks = not self._masks
            self._refresh()

    def action_log(self) -> None:
        """Change between the linear and the logarithmic scale."""
        self._logarithmic = not self._logarithmic
        self._refresh()

    def action_before(self) -> None:
        """Show the run before heads were switched off, or after."""
        self._before = not self._before and self._saved.before is not None
        self._refresh()

    def action_help(self) -> None:
        """Say what the keys do."""
        self.push_screen(HelpScreen())

    def action_picture(self) -> None:
        """Show the head as a picture."""
        call = self._position.of(self.trace)
        if call.pattern is None:
            self.notify("without weights there is no attention to draw", markup=False)
            return
        panel = heatmap(self.trace, call, self._position.head, self._position.row, self._scale)
        self.push_screen(PictureScreen(panel))

    def action_switch(self) -> None:
        """Switch the head under the cursor off or on."""
        call = self._position.of(self.trace)
        place = (call.stack.value, call.layer, self._position.head)
        others = {one: gate for one, gate in self._gates.items() if one != place}
        self._switched(others if self._gates.get(place) == 0 else {**others, place: 0.0})

    def action_reset(self) -> None:
        """Switch all heads on."""
        self._switched({})

    @property
    def _standing_here(self) -> tuple[ProminentHead, ...]:
        """The heads that stand out on the text that is shown, in the plain run."""
        row = self._position.row
        if row not in self._standing:
            self._standing[row] = tuple(self._answers.standing(self._plain, row))
        return self._standing[row]

    def _standing_at(self) -> ProminentHead | None:
        """The head under the cursor, if it stands out."""
        call = self._position.of(self._plain)
        place = (call.stack, call.layer, self._position.head)
        return next((one for one in self._standing_here if (one.stack, one.layer, one.head) == place), None)

    def _at(self, one: ProminentHead) -> Position:
        position = self._position.to_head(self._plain, one.stack, one.layer, one.head)
        call = position.of(self._plain)
        return position.at_cell(*telling_cell(self._plain, call, position.row, position.head))

    @property
    def _scale(self) -> Scale:
        return Scale.LOG if self._logarithmic else Scale.LINEAR

    def _go(self, position: Position) -> None:
        self._position = position
        self._refresh()

    def _switched(self, gates: Gates) -> None:
        """Run the model again with other gates; the latest question is the one that counts."""
        if self._answers.rerun is None:
            self.notify(self._answers.no_rerun, severity="warning", markup=False)
            return
        self._gates = gates
        self._asked += 1
        self._refresh()
        if not gates:
            self._show_saved(Saved(self._plain), self._asked)
            return
        number, mask, rerun = self._asked, self._head_mask(), self._answers.rerun

        def run() -> None:
            try:
                saved = rerun(mask)
            except MaskvizError as error:
                self.call_from_thread(self._failed, error, number)
                return
            if not get_current_worker().is_cancelled:
                self.call_from_thread(self._show_saved, saved, number)

        self.query_one("#change", Static).update("running ...")
        self.run_worker(run, thread=True, exclusive=True)

    def _show_saved(self, saved: Saved, number: int) -> None:
        if number == self._asked:
            self._saved, self._before = saved, False
            self._refresh()

    def _failed(self, error: MaskvizError, number: int) -> None:
        if number == self._asked:
            self._gates = _gates_of(self._saved.trace.head_mask)
            said = f"{error.message} ({error.hint})" if error.hint else error.message
            self.notify(said, severity="error", markup=False)
            self._refresh()

    def _head_mask(self) -> HeadMask:
        gates: dict[str, FloatArray] = {}
        for stack in self._plain.stacks:
            calls = self._plain.of_stack(stack)
            shape = max(call.layer for call in calls) + 1, max(call.heads for call in calls)
            gates[stack.value] = np.ones(shape, dtype=np.float32)
        for (stack_name, layer, head), gate in self._gates.items():
            gates[stack_name][layer, head] = gate
        return HeadMask(gates)

    def _refresh(self) -> None:
        trace, position = self.trace, self._position
        call = position.of(trace)
        stack = f"{call.stack.value} " if len(trace.stacks) > 1 else ""
        text = f", text {position.row + 1} of {trace.batch.rows}" if trace.batch.rows > 1 else ""
        what = "mask" if self._masks else f"attention, {self._scale.value} scale to {self._top(call):.3g}"
        when = "" if self._saved.before is None else ", before" if self._before else ", after"
        where = f"{stack}head {call.layer}.{position.head}{text}: {what}{when}"
        self.query_one("#where", Static).update(f"{where}; rule: {printable(str(call.mask.rule))}")
        self.query_one(CellMap).show(self._cells(call), (position.query, position.key))
        self._show_heads()
        cell = (position.row, position.head, position.query, position.key)
        earlier = self._saved.before if not self._before else None
        why = self._answers.why(trace, call, cell)
        self.query_one("#cell", Static).update(
            self._cut(cell_lines(trace, call, cell, why, earlier), _CELL_LINES, "maskviz explain")
        )
        self.query_one("#change", Static).update(self._cut(self._changes(), _CHANGE_LINES, "maskviz show"))
        self._show_standing()
        self.query_one(KeyLine).show(self._keys())

    def _cut(self, lines: Sequence[str], most: int, command: str) -> str:
        """Lines as wide as the screen; where they are too many, how many more the command has."""
        whole = [part for line in lines for part in wrapped(line, max(10, self.size.width))]
        if len(whole) <= most:
            return "\n".join(whole)
        return "\n".join([*whole[: most - 1], f"↓ {plural(len(whole) - most + 1, 'more line')}: '{command}' has all"])

    def _show_standing(self) -> None:
        """Say why the head stands out, or that others do; nothing where there is none."""
        heads, here = self._standing_here, self._standing_at()
        line = self.query_one("#standing", Static)
        line.display = bool(heads)
        others = f"n: the next of {len(heads)}" if len(heads) > 1 else ""
        first = heads and headed(heads[0], several=len(self._plain.stacks) > 1)
        said = f"stands out: {why_words(here)}" if here else f"n: {first}, which stands out"
        line.update(f"{said} · {others}" if here and others else said)

    def _keys(self) -> tuple[Key, ...]:
        """The keys that do something here, the most useful first."""
        trace = self.trace
        given = {
            ("?", "help"): True,
            ("q", "quit"): True,
            ("[ ]", "layer"): True,
            (", .", "head"): True,
            ("n", "stands out"): len(self._standing_here) > 0,
            ("space", "on/off"): self._answers.rerun is not None,
            ("b", "before"): self._saved.before is not None,
            ("t", "text"): trace.batch.rows > 1,
            ("s", "stack"): len(trace.stacks) > 1,
            ("m", "mask"): self._position.of(trace).pattern is not None,
            ("r", "all on"): bool(self._gates),
            ("l", "log"): True,
            ("g", "picture"): True,
        }
        return tuple(key for key, does in given.items() if does)

    def _changes(self) -> tuple[str, ...]:
        saved = self._saved
        if saved.change is None:
            return ()
        return change_lines(saved.trace, saved.change, lambda index: saved.names.get(index, str(index)))

    def _top(self, call: AttentionCall) -> float:
        """The largest weight of the head that is shown, on real queries."""
        if call.pattern is None:
            return 1.0
        row = self._position.row
        return top_value([call.pattern[row, self._position.head][self.trace.real_queries(call)[row]]])

    def _cells(self, call: AttentionCall) -> CellView:
        row, head = self._position.row, self._position.head
        queries, keys = axes_of(self.trace, call, row)
        shared = call.mask.visible.shape[1] == 1
        codes = primary(call.mask.reasons[row, 0 if shared else head])
        real = self.trace.real_queries(call)[row]
        levels = None
        if not self._masks and call.pattern is not None:
            levels = level(call.pattern[row, head], self._scale, self._top(call), 1e-4)
        return CellView(queries, keys, codes, levels, ~real)

    def _show_heads(self) -> None:
        numbers = calls_of_stack(self.trace, self._position)
        calls = [self.trace.calls[number] for number in numbers]
        change = self._saved.change
        values = peaks(self.trace, calls, self._position.row)
        if change is not None and not self._before:
            values = moves(calls, change)
        off = frozenset(
            (line, head)
            for line, call in enumerate(calls)
            for (stack, layer, head), gate in self._gates.items()
            if gate == 0 and (stack, layer) == (call.stack.value, call.layer)
        )
        self.query_one("#legend", Static).update(_PEAKS if change is None or self._before else _MOVES)
        names = tuple(f"L{call.layer}" for call in calls)
        self.query_one(HeadMap).show(values, names, off, (numbers.index(self._position.call), self._position.head))

    def _screen_of_terminal(self) -> Screen:
        screen = Screen.of(self.console, None)
        return replace(screen, shaded=True) if self.no_color else screen


def headed(one: ProminentHead, several: bool) -> str:
    """A head by its number, with its stack where there are several."""
    return f"{one.stack} {one.layer}.{one.head}" if several else f"{one.layer}.{one.head}"


def _gates_of(mask: HeadMask | None) -> Gates:
    """The gates below 1 of a head mask."""
    changed = () if mask is None else mask.changed()
    return {(stack, head.layer, head.head): gate for stack, head, gate in changed}
