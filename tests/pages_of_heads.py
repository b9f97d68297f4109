"""Made-up importances and prunings of small models, with numbers that can be checked by eye."""

from __future__ import annotations

import io
from typing import TypeVar

import numpy as np
from rich.console import Console

from maskviz.core.arrays import DoubleArray
from maskviz.core.panels.page import Note, Page, Panel
from maskviz.core.results.importance import Effects, Importance, Site
from maskviz.core.results.pruning import Chosen, Order, Pruning, PruningLine
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import ModelCard
from maskviz.core.words import Ablation, Measure, Method
from maskviz.render.terminal.page import render

P = TypeVar("P", bound=Panel)

CARD = ModelCard("made-up", "MadeUpForCausalLM", "made-up", False, (2,), (4,), (4,))
SHAPES = {"decoder": (2, 4)}
SITES = tuple(Site("decoder", layer, (head,)) for layer in range(2) for head in range(4))
KEY_SITES = tuple(
    Site("decoder", layer, (2 * key_head, 2 * key_head + 1), key_head) for layer in range(2) for key_head in range(2)
)
CROSSED = tuple(
    Site(stack, layer, (head,)) for stack in ("encoder", "decoder", "cross") for layer in (0, 1) for head in (0, 1)
)
TEXTS = ("The cat sat on the mat.", "A dog.", "It rains.")
TOKENS = (7, 3, 3)

CHANGE = np.array([0.40, 0.01, -0.02, 0.03, 0.00, 0.20, -0.05, 0.10])
BY_TEXT = CHANGE * np.array([[0.5], [1.0], [1.5]])


def importance(
    sites: tuple[Site, ...] = SITES,
    *,
    ablation: Ablation = Ablation.ZERO,
    gradients: DoubleArray | None = None,
    method: Method = Method.EXACT,
    texts: int = 3,
) -> Importance:
    """An importance whose mean changes of loss are `CHANGE`, again and again; of texts with factors 0.5, 1 and 1.5."""
    loss = np.resize(BY_TEXT[:texts].T, (len(sites), texts)).T
    changes = {
        Measure.LOSS: loss,
        Measure.KL: np.abs(loss) / 2,
        Measure.FLIPS: np.abs(loss) / 4,
        Measure.RANK: 10 * loss,
    }
    plain = {Measure.LOSS: np.array([2.0, 3.0, 4.0])[:texts], Measure.RANK: np.array([10.0, 20.0, 30.0])[:texts]}
    return Importance(sites, Effects(changes, plain), gradients, method, Measure.LOSS, ablation, tokens=TOKENS[:texts])


def line(order: Order, values: list[float], seed: int | None = None) -> PruningLine:
    """A line of three texts that all lose the same."""
    loss = np.tile(np.array(values), (3, 1))
    masks = []
    for removed in range(0, 2 * len(values), 2):
        gates = np.ones(8, np.float32)
        gates[:removed] = 0
        masks.append(HeadMask({"decoder": gates.reshape(2, 4)}))
    return PruningLine(order, seed, tuple(masks), {Measure.LOSS: loss, Measure.KL: loss / 2, Measure.FLIPS: loss / 10})


def pruning(ranked: list[float] | None = None, *, chosen: bool = True) -> Pruning:
    """A curve of 0, 2, 4, 6 and 8 removed heads; the random orders lose 0.9 to 1.1 at the first step, and so on."""
    lines = (
        line(Order.RANKED, ranked or [0.0, 0.1, 0.5, 2.0, 5.0]),
        line(Order.RANDOM, [0.0, 0.9, 1.8, 3.0, 5.0], 0),
        line(Order.RANDOM, [0.0, 1.1, 2.2, 3.2, 5.0], 1),
        line(Order.REVERSED, [0.0, 3.0, 4.0, 4.5, 5.0]),
    )
    gates = np.ones((2, 4), np.float32)
    gates[0], gates[1, 2] = 0, 0
    effect = {Measure.LOSS: np.array([0.6, 0.5, 0.7]), Measure.FLIPS: np.array([0.1, 0.2, 0.3])}
    going = tuple(site for site in SITES if gates[site.layer, site.heads[0]] == 0)
    return Pruning(
        SITES,
        (0, 2, 4, 6, 8),
        lines,
        {Measure.LOSS: np.array([2.0, 3.0, 4.0])},
        Measure.LOSS,
        Ablation.ZERO,
        Method.EXACT,
        reranked=False,
        chosen=Chosen(HeadMask({"decoder": gates}), going, 3 / 8, effect, "loses at most 0.7 nats") if chosen else None,
        tokens=TOKENS,
        notes=("a note",),
    )


def text_of(page: Page, width: int = 80) -> str:
    """A page as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, _environ={})
    render(page, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def only(page: Page, kind: type[P], title: str = "") -> P:
    """The one panel of a kind whose title holds some words."""
    found = [panel for panel in page.panels if isinstance(panel, kind) and title in getattr(panel, "title", "")]
    assert len(found) == 1, [getattr(panel, "title", "") for panel in page.panels]
    return found[0]


def notes(page: Page) -> str:
    """All sentences of a page."""
    return "\n".join(panel.text for panel in page.panels if isinstance(panel, Note))
