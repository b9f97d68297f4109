"""Options that several commands share, each declared once, in groups that share a heading of --help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from maskviz.api.together import refuse_detail
from maskviz.cli.env import Env
from maskviz.cli.files import parse_ids, read_texts
from maskviz.cli.parsing.groups import Group
from maskviz.core.drawing import Drawing
from maskviz.core.errors import UsageError
from maskviz.core.words import (
    CacheKind,
    Only,
    Parallel,
    Positions,
    Scale,
    Side,
    Stack,
    Style,
)

if TYPE_CHECKING:
    from maskviz.api.runs.traced import Feeding
    from maskviz.load.models.loading import Loading
    from maskviz.load.models.source import Source
    from maskviz.load.texts.request import Request
    from maskviz.view.choosing import Choice


Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts; several form one padded batch. - reads standard input as one text."),
]
File = Annotated[
    Path | None, typer.Option("--file", help="Texts from a UTF-8 file, one per line.", rich_help_panel="Input")
]


@dataclass(frozen=True, slots=True)
class HubOptions(Group):
    """Where what has a name is from."""

    PANEL: ClassVar[str] = "Model"
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="NAME", help="Branch, tag or commit on the hub.")
    ] = None
    offline: Annotated[bool, typer.Option("--offline", help="Use only what is on this machine.")] = False
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let code that comes with the model run.")
    ] = False

    def source(self, name: str) -> Source:
        """What a name means; raises as `resolve`."""
        from maskviz.load.models.source import resolve

        return resolve(name, revision=self.revision, offline=self.offline, trust=self.trust_remote_code)


@dataclass(frozen=True, slots=True)
class ModelOptions(Group):
    """Which model, with which weights, where it computes."""

    PANEL: ClassVar[str] = "Model"
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Hub id, folder, config.json, .gguf file, or demo:bert, demo:gpt, demo:t5.",
        ),
    ] = "demo:bert"
    random_weights: Annotated[
        int | None,
        typer.Option(
            "--random-weights", metavar="SEED", min=0, max=2**63 - 1, help="Random weights instead of the model's own."
        ),
    ] = None
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="NAME", help="Tokenizer of another model; hub id or folder.")
    ] = None
    device: Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1, mps, xpu.")] = (
        "auto"
    )
    dtype: Annotated[
        str,
        typer.Option("--dtype", metavar="TYPE", help="auto, float32, float16, bfloat16; auto is float32 on the CPU."),
    ] = "auto"

    def loading(
        self, hub: HubOptions, *, weights: bool = True, parallel: Parallel | None = None, name: str | None = None
    ) -> Loading:
        """What model is asked for, and which weights; `name` is another one's.

        Raises:
            UsageError: no weights and random ones together.
            NotFoundError: there is no such model.
        """
        from maskviz.load.models.loading import Loading
        from maskviz.load.models.source import resolve

        if self.random_weights is not None and not weights:
            raise UsageError("--no-weights and --random-weights are given together", "give one or the other")
        offline, trust = hub.offline, hub.trust_remote_code
        return Loading(
            hub.source(name or self.model or "demo:bert"),
            weights=weights,
            seed=self.random_weights,
            tokenizer=None if self.tokenizer is None else resolve(self.tokenizer, offline=offline, trust=trust),
            device=self.device,
            dtype=self.dtype,
            parallel=parallel,
        )


@dataclass(frozen=True, slots=True)
class WeightOptions(Group):
    """Whether weights are wanted at all."""

    PANEL: ClassVar[str] = "Model"
    no_weights: Annotated[bool, typer.Option("--no-weights", help="Masks from the config alone; loads no weights.")] = (
        False
    )


@dataclass(frozen=True, slots=True)
class ParallelOptions(Group):
    """How a large model is spread."""

    PANEL: ClassVar[str] = "Model"
    parallel: Annotated[
        Parallel | None,
        typer.Option(
            "--parallel",
            help="Spread a large model: auto over this machine's devices, tp over the processes torchrun started.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class TextOptions(Group):
    """Texts, and what stands beside them or in their place."""

    PANEL: ClassVar[str] = "Input"
    pair: Annotated[
        list[str] | None, typer.Option("--pair", metavar="TEXT", help="Second text of a row; once per text.")
    ] = None
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="TEXT", help="Decoder text of an encoder-decoder; once per text."),
    ] = None
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--ids", metavar="IDS", help='Token ids instead of a text, "5 17 3"; once per row, no special tokens added.'
        ),
    ] = None
    target_ids: Annotated[
        list[str] | None, typer.Option("--target-ids", metavar="IDS", help="Decoder ids, as they are; once per row.")
    ] = None
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--inputs", help="The forward's own arguments, passed on as they are: .npz .safetensors .pt .json."
        ),
    ] = None
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=1, help="Cut rows to this many tokens, and say so.")
    ] = None

    def check_ids(self) -> None:
        """Say what is wrong with ids before torch is imported.

        Raises:
            UsageError: something in them is no number.
        """
        parse_ids(self.ids, "--ids"), parse_ids(self.target_ids, "--target-ids")

    def read(
        self, env: Env, texts: list[str] | None, file: Path | None = None, images: list[Path] | None = None
    ) -> tuple[str, ...]:
        """The texts of the arguments and the file; raises as `read_texts`."""
        return read_texts(env, texts, file, self.ids, images, self.inputs)

    def request(self, texts: tuple[str, ...]) -> Request:
        """What is to be encoded."""
        from maskviz.load.texts.request import Request

        return Request(
            texts=texts,
            pairs=tuple(self.pair or ()),
            ids=parse_ids(self.ids, "--ids"),
            targets=tuple(self.target or ()),
            target_ids=parse_ids(self.target_ids, "--target-ids"),
            max_length=self.max_length,
            inputs=self.inputs,
        )


@dataclass(frozen=True, slots=True)
class BatchOptions(Group):
    """How texts form one batch."""

    PANEL: ClassVar[str] = "Input"
    padding_side: Annotated[
        Side | None, typer.Option("--padding-side", help="Default: the tokenizer's own; right without one.")
    ] = None
    pad_to: Annotated[int | None, typer.Option("--pad-to", min=1, help="Pad every row to this many tokens.")] = None
    position_ids: Annotated[
        Positions,
        typer.Option("--position-ids", help="cumsum counts real tokens, as generate() does; plain passes none."),
    ] = Positions.PLAIN
    token_types: Annotated[
        list[str] | None,
        typer.Option(
            "--token-types",
            metavar="TYPES",
            help='Types of a row\'s tokens, "0 0 1 1", such as prefix and suffix; once per row.',
        ),
    ] = None
    packed: Annotated[
        bool, typer.Option("--packed", help="Texts share one row, positions restarting, no attention mask.")
    ] = False
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Call the model with use_cache=False.")] = False

    def request(self, text: TextOptions, texts: tuple[str, ...], images: list[Path] | None = None) -> Request:
        """What is to be encoded, as one batch."""
        from dataclasses import replace

        return replace(
            text.request(texts),
            padding_side=self.padding_side,
            pad_to=self.pad_to,
            cumulative_positions=self.position_ids is Positions.CUMSUM,
            images=tuple(images or ()),
            token_types=parse_ids(self.token_types, "--token-types"),
            packed=self.packed,
            no_cache=self.no_cache,
        )


@dataclass(frozen=True, slots=True)
class ImageOptions(Group):
    """Pictures beside the texts."""

    PANEL: ClassVar[str] = "Input"
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image", metavar="FILE", help="Picture for the model's processor; once per text, or one for all."
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class PastOptions(Group):
    """A text that is fed in two parts."""

    PANEL: ClassVar[str] = "Cache"
    past: Annotated[
        int | None, typer.Option("--past", min=1, help="Feed this many tokens into the cache first; show the others.")
    ] = None


@dataclass(frozen=True, slots=True)
class CacheOptions(PastOptions):
    """A text that is fed in two parts, and the cache between them."""

    cache: Annotated[CacheKind, typer.Option("--cache", help="Cache of --past and --step.")] = CacheKind.DYNAMIC


@dataclass(frozen=True, slots=True)
class DecodingOptions(CacheOptions):
    """A text that is fed in parts, or goes on."""

    step: Annotated[
        int | None, typer.Option("--step", min=1, help="Generate this many tokens greedily; show their rows too.")
    ] = None


@dataclass(frozen=True, slots=True)
class MaskOptions(Group):
    """A mask of the user's own."""

    PANEL: ClassVar[str] = "Masks"
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            metavar="FILE",
            help="Attention mask of your own, .npy .pt .safetensors: [batch, token] or [batch, head, query, key].",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class HeadMaskOptions(Group):
    """Heads that are silenced."""

    PANEL: ClassVar[str] = "Masks"
    head_mask: Annotated[
        str | None,
        typer.Option(
            "--head-mask",
            metavar="SPEC",
            help='What-if: silence heads, "0:3,5; 2:*; 4:1=0.5; keep 6:1,2; kv:3.1", or @file.json / @file.npy, '
            "1 keeps.",
        ),
    ] = None


def feeding(past: PastOptions, mask: Path | None = None) -> Feeding:
    """How the text is fed to the model."""
    from maskviz.api.runs.traced import Feeding

    step = past.step if isinstance(past, DecodingOptions) else None
    cache = past.cache if isinstance(past, CacheOptions) else CacheKind.DYNAMIC
    return Feeding(past.past, step, cache, mask)


@dataclass(frozen=True, slots=True)
class ChoiceOptions(Group):
    """What of a run is drawn."""

    PANEL: ClassVar[str] = "What to draw"
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="LAYERS", help="Layers to draw, such as 0,2-4,-1.")
    ] = None
    head: Annotated[str | None, typer.Option("--head", metavar="HEADS", help="Heads to draw, such as 3,7.")] = None
    stack: Annotated[Stack | None, typer.Option("--stack", help="Only this attention of an encoder-decoder.")] = None
    text: Annotated[int | None, typer.Option("--text", min=1, help="Draw this text of the batch only, from 1.")] = None
    scale: Annotated[
        Scale | None, typer.Option("--scale", help="Colour scale of attention; default: linear, log for long texts.")
    ] = None
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="Title of the page; default: the text.")
    ] = None

    def choice(self) -> Choice:
        """What of the run is drawn."""
        from maskviz.view.choosing import Choice

        return Choice(self.layer, self.head, self.stack, self.text, self.scale, self.title)


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
        from dataclasses import replace

        refuse_detail(everything=self.everything, brief=self.brief, lines=self.lines, only=self.only)
        return replace(choice, everything=self.everything, brief=self.brief, only=self.only, lines=self.lines)


@dataclass(frozen=True, slots=True)
class RegionOptions(Group):
    """A part of each mask and map."""

    PANEL: ClassVar[str] = "What to draw"
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="Q0:Q1,K0:K1", help="Only these queries and keys, such as 1000:1200,0:400."),
    ] = None


Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of everything drawn at random.")]
Resolution = Annotated[int, typer.Option("--dpi", min=30, max=1200, help="Resolution of PNG files.")]


@dataclass(frozen=True, slots=True)
class DpiOptions(Group):
    """How pictures in files are drawn."""

    PANEL: ClassVar[str] = "Output"
    dpi: Resolution = 150

    def drawing(self) -> Drawing:
        """How pictures in files are drawn."""
        return Drawing(self.dpi)


@dataclass(frozen=True, slots=True)
class PictureOptions(DpiOptions):
    """How pictures in files are drawn, and for whom."""

    style: Annotated[
        Style, typer.Option("--style", help="screen; paper: as wide as a column, with one caption that has the facts.")
    ] = Style.SCREEN
    columns: Annotated[
        int | None, typer.Option("--columns", min=1, max=2, help="Columns a figure of --style paper takes; default: 1.")
    ] = None

    def drawing(self) -> Drawing:
        """How pictures in files are drawn.

        Raises:
            UsageError: columns without a paper.
        """
        return Drawing(self.dpi, self.style, self.columns)


def _output(suffixes: str) -> typer.models.OptionInfo:
    made: typer.models.OptionInfo = typer.Option(
        "--output", "-o", help=f"File to write, by suffix {suffixes}; repeatable.", rich_help_panel="Output"
    )
    return made


Output = Annotated[list[Path] | None, _output(".html .png .svg .pdf .txt .json .npz")]
DataOutput = Annotated[list[Path] | None, _output(".png .svg .pdf .txt .json")]
PageOutput = Annotated[list[Path] | None, _output(".png .svg .pdf .txt")]
