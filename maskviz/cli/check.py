"""`maskviz check`: a batch, a mask or a model is asked for every known trap."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.files import checked as checked_paths
from maskviz.cli.files import deliver, deliver_page, parse_backends, print_out
from maskviz.cli.own_module import OwnOptions
from maskviz.cli.parsing.groups import GivenOptions, Group
from maskviz.cli.saved_runs import MASK_SUFFIXES
from maskviz.core.drawing import Drawing
from maskviz.core.errors import ExitCode, UsageError
from maskviz.core.words import Backend, Dialect, Positions, Purpose, Severity
from maskviz.store.files import write_whole

if TYPE_CHECKING:
    from maskviz.api.check import Findings
    from maskviz.api.checking.case import Checkable
    from maskviz.core.checks.case import GivenBatch
    from maskviz.load.texts.request import Request

# Of files with the arguments of a forward.
INPUT_SUFFIXES = (".npz", ".pt", ".safetensors")


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


class FailOn(StrEnum):
    """The least severity that ends with exit code 5."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"
    NEVER = "never"


Subjects = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT|MASK", help="Texts of one batch, or a mask file .npy .pt .safetensors."),
]


@dataclass(frozen=True, slots=True)
class CheckedModelOptions(o.ModelOptions):
    """The model that is checked; none where a mask file is checked alone."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Hub id, folder, config.json, .gguf file, or demo:NAME; with texts: demo:bert.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class GivenMaskOptions(o.MaskOptions):
    """A mask file, and what it is to fit."""

    dialect: Annotated[
        Dialect | None, typer.Option("--as", help="How the mask file is to be read; default: by its shape.")
    ] = None
    queries: Annotated[int | None, typer.Option("--queries", min=1, help="Queries the mask must have.")] = None
    keys: Annotated[int | None, typer.Option("--keys", min=1, help="Keys the mask must have.")] = None
    heads: Annotated[int | None, typer.Option("--heads", min=1, help="Heads the mask must have.")] = None
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Rows the mask must have.")] = None
    window: Annotated[int | None, typer.Option("--window", min=1, help="Keys a query is meant to see at most.")] = None
    meant: Annotated[
        str | None,
        typer.Option(
            "--meant", metavar="RULE", help="The mask that is meant, such as 'block(4)' or 'causal & window(8)'."
        ),
    ] = None
    no_mask: Annotated[bool, typer.Option("--no-mask", help="Pass no attention mask, as code that forgets it.")] = False

    def check(self, texts: list[str], packed: bool) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: options of mask files without one, or two masks.
        """
        if self.mask is None:
            for option, value in (("--as", self.dialect), ("--window", self.window), ("--queries", self.queries)):
                if value is not None:
                    raise _no_mask_file(option, texts)
        if self.no_mask and (self.mask is not None or packed):
            raise UsageError("--no-mask and another mask are given together", "give one or the other")


@dataclass(frozen=True, slots=True)
class PurposeOptions(Group):
    """What the batch is for, and what is asked beside it."""

    PANEL: ClassVar[str] = "What to ask"
    purpose: Annotated[
        Purpose | None,
        typer.Option(
            "--for",
            help="What the batch is for: generate, or a single forward pass; default: rows with labels are trained on.",
        ),
    ] = None
    attn: Annotated[
        list[str] | None,
        typer.Option(
            "--attn",
            metavar="BACKEND",
            help=f"The attention backend to ask, of {', '.join(Backend)}; default: the model's own.",
        ),
    ] = None
    head_mask: Annotated[
        str | None, typer.Option("--head-mask", metavar="SPEC", help="Heads you silenced to get --outputs.")
    ] = None
    outputs: Annotated[
        Path | None,
        typer.Option("--outputs", metavar="FILE", help="What your own ablation put out for this batch, .npy .pt."),
    ] = None
    select: Annotated[str | None, typer.Option("--select", metavar="IDS", help="Only these rules, such as P,T1,L.")] = (
        None
    )
    ignore: Annotated[str | None, typer.Option("--ignore", metavar="IDS", help="Not these rules.")] = None
    listed: Annotated[bool, typer.Option("--list", help="List the rules and end.")] = False

    def backend(self) -> Backend | None:
        """The backend that is asked.

        Raises:
            UsageError: several are named, or one there is not.
        """
        found = parse_backends(self.attn)
        if len(found) > 1:
            raise UsageError(f"--attn names {len(found)} backends: {', '.join(found)}", "check one after the other")
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class FindingsOptions(Group):
    """Where findings go, and what they end with."""

    PANEL: ClassVar[str] = "Output"
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Least severity that ends with exit code 5.")] = (
        FailOn.ERROR
    )
    form: Annotated[Format | None, typer.Option("--format", help="Default: by the suffix of -o, else text.")] = None
    output: Annotated[
        list[Path] | None,
        typer.Option("--output", "-o", help="File to write, .sarif .json .txt .png .svg .pdf; repeatable."),
    ] = None
    dpi: o.Resolution = 150

    @property
    def data(self) -> bool:
        """Whether findings are wanted as data, whatever a file is called."""
        return self.form in (Format.JSON, Format.SARIF)

    def paths(self, read: Path | None) -> list[Path]:
        """The files to write; with a format of its own a file may end as it likes.

        Raises:
            MaskvizError: one cannot be written, or its format cannot be told.
        """
        if self.data and self.output:
            if len(self.output) > 1:
                raise UsageError(f"--format {self.form} writes one file", "leave it out: -o goes by suffix")
            return checked_paths(self.output, (self.output[0].suffix.lower(),), read)
        return checked_paths(self.output, (".json", ".sarif"), read)


def check(
    env: Env,
    typed: GivenOptions,
    model: CheckedModelOptions,
    module: OwnOptions,
    weights: o.WeightOptions,
    hub: o.HubOptions,
    text: o.TextOptions,
    batch: o.BatchOptions,
    images: o.ImageOptions,
    own: GivenMaskOptions,
    asking: PurposeOptions,
    out: FindingsOptions,
    subjects: Subjects = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            help="Rows of a batch as JSON lines (.jsonl): input_ids, attention_mask ...; or texts.",
            rich_help_panel="Input",
        ),
    ] = None,
) -> None:
    """Ask a batch, a mask file or a model for every known trap; exit code 5 where one is found."""
    from maskviz.core.checks.known import chosen_rules

    chosen = chosen_rules(asking.select, asking.ignore)
    if asking.listed:
        _list(env, chosen, out)
        return
    own_module = module.own(env, typed, text)
    texts, own = _split(subjects, own)
    asking.backend()
    if (asking.head_mask is None) != (asking.outputs is None):
        raise UsageError(
            "--head-mask and --outputs go together: the heads you silenced, and what came out",
            "for a what-if of your own see maskviz show --head-mask",
        )
    own.check(texts, batch.packed)
    paths = out.paths(file)
    if own_module is not None:
        from maskviz.api.check import own_checked

        found = own_checked(env, own_module, chosen, own.meant)
    elif model.model is None and not texts and file is None and not text.ids and own.mask is not None:
        from maskviz.api.check import MaskAsked, checked_mask  # torch starts here
        from maskviz.core.checks.case import Sizes

        sizes = Sizes(own.batch, own.heads, own.queries, own.keys, own.window)
        found = checked_mask(own.mask, MaskAsked(own.dialect, sizes, model.dtype, own.meant), chosen)
    else:
        given = _given(env, (text, batch, images), texts, file)

        from maskviz.api.check import checked  # torch and transformers start here

        loading = model.loading(hub, weights=not weights.no_weights)
        found = checked(env, _subject(given, own, asking, file), loading, chosen)
    _report(env, found, out, paths)
    if out.fail_on is not FailOn.NEVER and any(one.severity.rank >= Severity(out.fail_on).rank for one in found):
        raise typer.Exit(ExitCode.FINDING)


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """What is checked with a model: what is to be encoded, or the rows of a file."""

    request: Request
    texts: tuple[str, ...]
    rows: GivenBatch | None = None


def _given(
    env: Env,
    options: tuple[o.TextOptions, o.BatchOptions, o.ImageOptions],
    texts: list[str],
    file: Path | None,
) -> _Given:
    """The texts, or the rows of a file, that are checked with a model."""
    from maskviz.api.checking.batch_file import read_batch

    text, batch, images = options
    if file is not None and text.inputs is not None:
        raise UsageError("--file and --inputs are given together", "check one after the other")
    if file is not None and file.suffix.lower() in INPUT_SUFFIXES:
        raise UsageError(f"--file reads rows or texts, and {str(file)!r} holds arrays", f"--inputs {file}")
    text.check_ids()
    if file is not None and file.suffix.lower() == ".jsonl":
        found = read_batch(file)
        if not isinstance(found, tuple):
            if texts or text.ids:
                raise UsageError("rows of a file and texts are given together", "give one or the other")
            _check_as_they_are(*options)
            return _Given(batch.request(text, ()), (), found)
        file, texts = None, [*texts, *found]
    read = text.read(env, texts, file, images.image)
    return _Given(batch.request(text, read, images.image), read)


def _check_as_they_are(text: o.TextOptions, batch: o.BatchOptions, images: o.ImageOptions) -> None:
    """Rows of a file are not encoded: no option may ask for that."""
    asked = {
        "pair": text.pair,
        "target": text.target,
        "target-ids": text.target_ids,
        "pad-to": batch.pad_to,
        "max-length": text.max_length,
        "image": images.image,
        "token-types": batch.token_types,
        "packed": batch.packed,
        "position-ids": batch.position_ids is not Positions.PLAIN,
    }
    for name, given in asked.items():
        if given:
            raise UsageError(f"rows of a file are taken as they are, and --{name} is given", f"leave out --{name}")


def _subject(given: _Given, own: GivenMaskOptions, asking: PurposeOptions, file: Path | None) -> Checkable:
    """What is to be checked."""
    from maskviz.api.checking.case import Checkable
    from maskviz.conventions.files import read_mask
    from maskviz.load.inputs.files import read_inputs

    texts, inputs = given.texts, given.request.inputs
    more = f" (+{len(texts) - 1} more)" if len(texts) > 1 else ""
    what = file or inputs or (f"{texts[0]}{more}" if texts else "ids")
    return Checkable(
        given.request,
        name=str(what),
        file=file,
        rows=given.rows,
        arguments=None if inputs is None else read_inputs(inputs),
        unmasked=own.no_mask,
        mask=None if own.mask is None else (own.mask.name, read_mask(own.mask)),
        dialect=own.dialect,
        window=own.window,
        meant=own.meant,
        purpose=asking.purpose,
        backend=asking.backend(),
        head_mask=asking.head_mask,
        outputs=asking.outputs,
    )


def _split(subjects: list[str] | None, own: GivenMaskOptions) -> tuple[list[str], GivenMaskOptions]:
    """The texts among the arguments, and the mask file, which an argument may be that names one."""
    texts = list(subjects or ())
    files = [one for one in texts if one.lower().endswith(MASK_SUFFIXES)]
    if len(files) > 1 or (files and own.mask is not None):
        raise UsageError("two mask files are given", "check one after the other")
    return [one for one in texts if one not in files], replace(own, mask=Path(files[0])) if files else own


def _no_mask_file(option: str, texts: list[str]) -> UsageError:
    """What is there where an option of mask files is given without one."""
    hint = "maskviz check mask.npy --as sdpa"
    for text in texts:
        if os.path.isdir(text):  # noqa: PTH112 - no text is too long for it
            return UsageError(
                f"{option} is of a mask file, and {text!r} is a folder",
                f"a model is checked with --model: maskviz check -m {text} 'a text'",
            )
        a_file = os.path.isfile(text)  # noqa: PTH113
        what = f"does not end in one of {' '.join(MASK_SUFFIXES)}" if a_file else "is a text"
        return UsageError(f"{option} is of a mask file, and {text[:60]!r} {what}", hint)
    return UsageError(f"{option} is of a mask file, and none is given", hint)


def _list(env: Env, chosen: tuple[str, ...], out: FindingsOptions) -> None:
    """The table of the rules.

    Raises:
        UsageError: it is asked for as data, which findings alone are written as.
    """
    from maskviz.core.checks.known import NOT_CHECKED, TRAPS
    from maskviz.view.findings import traps_page

    if out.data:
        raise UsageError(f"--list is a table, and --format {out.form} is for findings", "leave out --format")
    page = traps_page([TRAPS[one] for one in chosen], NOT_CHECKED)
    deliver_page(env, page, checked_paths(out.output, ()), Drawing(out.dpi))


def _report(env: Env, found: Findings, out: FindingsOptions, paths: list[Path]) -> None:
    """Write findings where they are wanted; say how many where they went to files."""
    from maskviz.view.findings import verdict

    if out.data and not paths:
        print_out(env, found.data(f".{out.form}", env.command).decode())
        return
    if out.data:
        write_whole(paths[0], found.data(f".{out.form}", env.command))
        env.wrote(paths[0])
        if not env.quiet:
            env.say(verdict(found.checked))
    else:
        deliver(env, found, paths, Drawing(out.dpi))
