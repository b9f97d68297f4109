"""`maskviz show`: a text goes in, the masks and the attention of a real model come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env, working_together
from maskviz.cli.files import checked, deliver, parse_backends
from maskviz.cli.own_module import OwnOptions
from maskviz.cli.parsing.groups import GivenOptions, Group
from maskviz.core.errors import ExitCode
from maskviz.core.words import Backend

if TYPE_CHECKING:
    from maskviz.api.trace import LongOptions

Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Ask the run for every trap 'maskviz check' knows; exit code 5 where one is found.",
        rich_help_panel="What else to ask",
    ),
]
Prove = Annotated[
    bool,
    typer.Option(
        "--prove",
        help="Check the masks against the model's behaviour; exit code 5 where they differ.",
        rich_help_panel="What else to ask",
    ),
]
BackendNames = Annotated[
    list[str] | None,
    typer.Option(
        "--attn",
        metavar="A,B",
        help=f"Also say what these backends would be handed, of {', '.join(Backend)}; "
        "on the page, not in .json and .npz.",
        rich_help_panel="What else to ask",
    ),
]


@dataclass(frozen=True, slots=True)
class LongTextOptions(Group):
    """Attention that is added up as it is made."""

    PANEL: ClassVar[str] = "Long texts"
    pool: Annotated[
        int | None,
        typer.Option(
            "--pool",
            metavar="N",
            min=8,
            max=1024,
            help="Add attention up in N x N tiles per head, keeping no map whole; 128 where whole maps do not fit.",
        ),
    ] = None
    rows: Annotated[
        str | None,
        typer.Option("--rows", metavar="ROWS", help="Queries of a long run kept at full resolution, 100,2000-2010."),
    ] = None
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory", metavar="SIZE", help="Memory attention may take, such as 8GB; default: 70% of what is free."
        ),
    ] = None

    def long(self, region: str | None, layers: str | None) -> LongOptions:
        """When a run is a long one, and what is kept of it.

        Raises:
            UsageError: a size that is none.
        """
        from maskviz.api.trace import LongOptions, parse_bytes

        most = None if self.max_memory is None else parse_bytes(self.max_memory)
        return LongOptions(self.pool, self.rows, region, layers, most)


def show(
    env: Env,
    typed: GivenOptions,
    model: o.ModelOptions,
    module: OwnOptions,
    weights: o.WeightOptions,
    spread: o.ParallelOptions,
    hub: o.HubOptions,
    text: o.TextOptions,
    batch: o.BatchOptions,
    images: o.ImageOptions,
    decoding: o.DecodingOptions,
    own: o.MaskOptions,
    silenced: o.HeadMaskOptions,
    draw: o.ChoiceOptions,
    detail: o.DetailOptions,
    part: o.RegionOptions,
    long: LongTextOptions,
    picture: o.PictureOptions,
    texts: o.Texts = None,
    file: o.File = None,
    prove: Prove = False,
    check: Check = False,
    attn: BackendNames = None,
    output: o.Output = None,
) -> None:
    """Show which tokens each token may attend to, why not the others, and where every head looks."""
    paths, drawing = checked(output, (".html", ".json", ".npz"), file), picture.drawing()
    text.check_ids()  # what is wrong is said before torch is imported
    backends = parse_backends(attn)
    own_module = module.own(env, typed, text)
    found = () if own_module is not None else text.read(env, texts, file, images.image)

    from maskviz.api.runs.traced import Asked
    from maskviz.api.trace import Wanted, check_together, shown  # torch and transformers start here

    report = next((f"-o {path}" for path in paths if path.suffix.lower() == ".html"), "")
    kept = long.long(part.region, draw.layer)
    wanted = Wanted(detail.of(draw.choice()), kept, part.region, silenced.head_mask, backends, prove, check, report)
    request, fed = batch.request(text, found, images.image), o.feeding(decoding, own.mask)
    check_together(request, fed, wanted, spread.parallel)
    with working_together(spread.parallel):
        loading = own_module or model.loading(hub, weights=not weights.no_weights, parallel=spread.parallel)
        answer = shown(env, Asked(loading, request, fed), wanted)
    deliver(env, answer, paths, drawing)
    if answer.problems:
        raise typer.Exit(ExitCode.FINDING)
