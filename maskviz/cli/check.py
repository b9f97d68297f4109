"""`maskviz check`: a batch, a mask or a model is asked for every known trap."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import parse_backends, parse_ids, read_texts
from maskviz.core.errors import ExitCode, UsageError
from maskviz.core.words import Backend, Dialect, Purpose, Severity

if TYPE_CHECKING:
    from maskviz.core.checks.given_batch import GivenBatch
    from maskviz.core.panels.page import Panel

# Of files with the arguments of a forward.
INPUT_SUFFIXES = (".npz", ".pt", ".safetensors")
MASK_SUFFIXES = (".npy", ".pt", ".safetensors")
# Options that say how texts become a batch.
_ENCODING = ("pair", "target", "target_ids", "pad_to", "max_length", "image", "token_types", "packed")


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
    typer.Argument(metavar="[TEXT... | MASK]", help="Texts of one batch, or a mask file .npy .pt .safetensors."),
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Hub id, folder, config.json, .gguf file, or demo:NAME; with texts: demo:bert."),
]
BatchFile = Annotated[
    Path | None,
    typer.Option("--file", help="Rows of a batch as JSON lines (.jsonl): input_ids, attention_mask ...; or texts."),
]
NoMask = Annotated[bool, typer.Option("--no-mask", help="Pass no attention mask, as code that forgets it.")]
For = Annotated[
    Purpose | None,
    typer.Option(
        "--for",
        help="What the batch is for: generate, or a single forward pass; default: rows with labels are trained on.",
    ),
]
As = Annotated[Dialect | None, typer.Option("--as", help="How the mask file is to be read; default: by its shape.")]
Number = Annotated[int | None, typer.Option(min=1)]
Window = Annotated[int | None, typer.Option("--window", min=1, help="Keys a query is meant to see at most.")]
Meant = Annotated[
    str | None,
    typer.Option("--meant", metavar="RULE", help="The mask that is meant, such as 'block(4)' or 'causal & window(8)'."),
]
RunDtype = Annotated[str, typer.Option("--dtype", help="Type the model computes in: auto, float32, float16, bfloat16.")]
AskedBackend = Annotated[
    list[str] | None,
    typer.Option(
        "--attn",
        metavar="BACKEND",
        help=f"The attention backend to ask, of {', '.join(Backend)}; default: the model's own.",
    ),
]
AblatedHeads = Annotated[
    str | None, typer.Option("--head-mask", metavar="SPEC", help="Heads you silenced to get --outputs.")
]
Outputs = Annotated[
    Path | None,
    typer.Option("--outputs", metavar="FILE", help="What your own ablation put out for this batch, .npy .pt."),
]
Listed = Annotated[bool, typer.Option("--list", help="List the rules and end.")]
Select = Annotated[str | None, typer.Option("--select", metavar="IDS", help="Only these rules, such as P,T1,L.")]
Ignore = Annotated[str | None, typer.Option("--ignore", metavar="IDS", help="Not these rules.")]
Fail = Annotated[FailOn, typer.Option("--fail-on", help="Least severity that ends with exit code 5.")]
FormatName = Annotated[Format | None, typer.Option("--format", help="Default: by the suffix of -o, else text.")]
FindingsOutput = Annotated[
    list[Path] | None,
    typer.Option("--output", "-o", help="File to write, .sarif .json .txt .png .svg .pdf; repeatable."),
]


def check(
    ctx: typer.Context,
    subjects: Subjects = None,
    model: Model = None,
    file: BatchFile = None,
    mask: o.MaskFile = None,
    dialect: As = None,
    queries: Number = None,
    keys: Number = None,
    heads: Number = None,
    batch: Number = None,
    window: Window = None,
    meant: Meant = None,
    no_weights: o.NoWeights = False,
    random_weights: o.RandomWeights = None,
    tokenizer: o.TokenizerName = None,
    pair: o.Pairs = None,
    target: o.Targets = None,
    ids: o.Ids = None,
    target_ids: o.TargetIds = None,
    inputs: o.Inputs = None,
    padding_side: o.PaddingSide = None,
    pad_to: o.PadTo = None,
    max_length: o.MaxLength = None,
    position_ids: o.PositionIds = o.Positions.PLAIN,
    image: o.Images = None,
    token_types: o.TokenTypes = None,
    packed: o.Packed = False,
    no_cache: o.NoCache = False,
    no_mask: NoMask = False,
    purpose: For = None,
    attn: AskedBackend = None,
    head_mask: AblatedHeads = None,
    outputs: Outputs = None,
    listed: Listed = False,
    select: Select = None,
    ignore: Ignore = None,
    fail_on: Fail = FailOn.ERROR,
    form: FormatName = None,
    output: FindingsOutput = None,
    dpi: o.Dpi = 150,
    device: o.Device = "auto",
    dtype: RunDtype = "auto",
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Ask a batch, a mask file or a model for every known trap; exit code 5 where one is found."""
    options = locals() | {"parallel": None}
    env: Env = ctx.obj

    from maskviz.cli.reporting import chosen_traps, destinations, listed_traps, report_findings

    chosen = chosen_traps(select, ignore)
    if listed:
        listed_traps(env, chosen, form, output, dpi)
        return
    texts, mask = _split(subjects, mask)
    options |= {"texts": texts, "mask": mask, "attn": _one_backend(attn)}
    _check_together(options)
    paths = destinations(output, form, file)
    pictures: tuple[Panel, ...] = ()
    if model is None and not texts and file is None and not ids and mask is not None:
        from maskviz.cli.checked_mask import checked_array  # torch starts here

        checked, pictures = checked_array(options, mask, chosen)
    else:
        from maskviz.cli.checked_batch import checked_model  # torch and transformers start here

        checked = checked_model(env, options, _batch_of(env, options), chosen)
    report_findings(env, (checked, pictures), form, paths, dpi)
    if fail_on is not FailOn.NEVER and any(one.severity.rank >= Severity(fail_on).rank for one in checked.findings):
        raise typer.Exit(ExitCode.FINDING)


def _split(subjects: list[str] | None, mask: Path | None) -> tuple[list[str], Path | None]:
    """The texts among the arguments, and the mask file, which an argument may be that names one."""
    texts = list(subjects or ())
    files = [one for one in texts if one.lower().endswith(MASK_SUFFIXES)]
    if len(files) > 1 or (files and mask is not None):
        raise UsageError("two mask files are given", "check one after the other")
    return [one for one in texts if one not in files], Path(files[0]) if files else mask


def _one_backend(values: list[str] | None) -> Backend | None:
    found = parse_backends(values)
    if len(found) > 1:
        raise UsageError(f"--attn names {len(found)} backends: {', '.join(found)}", "check one after the other")
    return found[0] if found else None


def _check_together(options: dict[str, Any]) -> None:
    if (options["head_mask"] is None) != (options["outputs"] is None):
        raise UsageError(
            "--head-mask and --outputs go together: the heads you silenced, and what came out",
            "for a what-if of your own see maskviz show --head-mask",
        )
    if options["mask"] is None:
        for name, option in (("dialect", "--as"), ("window", "--window"), ("queries", "--queries")):
            if options[name] is not None:
                raise _no_mask_file(option, options["texts"])
    if options["no_mask"] and (options["mask"] is not None or options["packed"]):
        raise UsageError("--no-mask and another mask are given together", "give one or the other")


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


def _batch_of(env: Env, options: dict[str, Any]) -> tuple[tuple[str, ...], GivenBatch | None]:
    """The texts, or the rows of a file, that are checked with a model."""
    from maskviz.cli.batch_file import read_batch

    file, texts = options["file"], options["texts"]
    if file is not None and options["inputs"] is not None:
        raise UsageError("--file and --inputs are given together", "check one after the other")
    if file is not None and file.suffix.lower() in INPUT_SUFFIXES:
        raise UsageError(f"--file reads rows or texts, and {str(file)!r} holds arrays", f"--inputs {file}")
    parse_ids(options["ids"], "--ids"), parse_ids(options["target_ids"], "--target-ids")
    if file is not None and file.suffix.lower() == ".jsonl":
        found = read_batch(file)
        if not isinstance(found, tuple):
            if texts or options["ids"]:
                raise UsageError("rows of a file and texts are given together", "give one or the other")
            _check_as_they_are(options)
            return (), found
        file, texts = None, [*texts, *found]
    return read_texts(env, texts, file, options["ids"], options["image"], options["inputs"]), None


def _check_as_they_are(options: dict[str, Any]) -> None:
    """Rows of a file are not encoded: no option may ask for that."""
    asked = [name for name in _ENCODING if options[name]]
    if options["position_ids"] is not o.Positions.PLAIN:
        asked.append("position_ids")
    if asked:
        option = f"--{asked[0].replace('_', '-')}"
        raise UsageError(f"rows of a file are taken as they are, and {option} is given", f"leave out {option}")
