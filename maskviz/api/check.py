"""Whether a mask is right: a model and a batch, or a mask alone, asked for every known mistake. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import torch

from maskviz.analyse.check import check as ask
from maskviz.analyse.check import unasked
from maskviz.api.answer import Answer, read_back
from maskviz.api.checking.array import MaskNumbers, array_of, guessed
from maskviz.api.checking.case import Checkable, examined
from maskviz.api.checking.own import checked_own
from maskviz.api.runs.asking import mask_of, model_of, own_of, request_of, tensor_of
from maskviz.api.runs.options import BatchKeywords, ModelKeywords, OwnKeywords, check_options, only, word
from maskviz.api.runs.own import Own, is_own, own_ran, own_ready
from maskviz.api.runs.traced import Live
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.conventions.files import read_mask
from maskviz.conventions.packed import PACKED, packed_words
from maskviz.conventions.source import known
from maskviz.core.checks.case import Case, GivenArray, Sizes
from maskviz.core.checks.findings import Checked, Finding
from maskviz.core.checks.known import chosen_rules
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page, Panel
from maskviz.core.results.converted import Converted, Written
from maskviz.core.rules.algebra import Opaque
from maskviz.core.rules.grammar import parse_rule
from maskviz.core.words import DTYPES, Backend, Dialect, Purpose, Severity
from maskviz.core.writing import either
from maskviz.load.inputs.files import read_inputs
from maskviz.load.models.loading import Loading
from maskviz.load.models.model import volume_kept
from maskviz.load.texts.request import Request
from maskviz.store.findings import findings_json, findings_sarif
from maskviz.tracing.seam.replacing import alone
from maskviz.view.findings import findings_page, verdict
from maskviz.view.masks.conversion import mask_pictures

if TYPE_CHECKING:
    from maskviz.api.runs.options import Model
    from maskviz.core.arrays import AnyArray

    Batch = str | Sequence[str] | Mapping[str, Any] | None

# A mask with more cells is not drawn beside its findings; a conversion draws it.
_MOST_CELLS = 2**22


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Findings(Answer):
    """What a check found; empty, and so False, where it found nothing.

    Attributes:
        checked: The findings with all there is to say of how they were found.
        pictures: Of a mask alone, what it shows.
    """

    DATA: ClassVar[tuple[str, ...]] = (".json", ".sarif")
    checked: Checked
    pictures: tuple[Panel, ...] = ()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.checked.findings)

    def __getitem__(self, number: int) -> Finding:
        return self.checked.findings[number]

    def __len__(self) -> int:
        return len(self.checked.findings)

    def __repr__(self) -> str:
        found = " ".join(finding.rule for finding in self)
        return f"<Findings of {self.checked.subject}: {verdict(self.checked)}{f', {found}' if found else ''}>"

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Those that are errors."""
        return self.of(Severity.ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Those that are warnings."""
        return self.of(Severity.WARNING)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Those that are notes."""
        return self.of(Severity.NOTE)

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Those of one severity."""
        return tuple(finding for finding in self if finding.severity is severity)

    def page(self) -> Page:
        """The page that `maskviz check` prints."""
        return findings_page(self.checked, self.pictures)

    def to_dict(self) -> dict[str, Any]:
        """The findings as `.json` holds them."""
        return read_back(self.data(".json"))

    def data(self, suffix: str, command: str = "") -> bytes:
        """The findings as `.json` or `.sarif`."""
        return findings_json(self.checked, command) if suffix == ".json" else findings_sarif(self.checked, command)


class CheckKeywords(ModelKeywords, BatchKeywords, OwnKeywords, total=False):
    """What else `check` may be told, beside what is said of a model and a batch.

    Attributes:
        dialect: How the mask is to be read, such as "sdpa" or "hf-2d"; None to go by its shape.
        queries, keys, heads: What a mask alone is to fit.
        meant: The mask that is meant, such as `"block(4)"` or `"causal & window(8)"`.
        attn: The attention backend to ask, such as "sdpa"; None for the model's own.
        window: Keys a query is meant to see at most.
        no_mask: Whether no attention mask is passed, as by code that forgets it.
        head_mask, outputs: Heads you silenced, and the file of what came out.
        select, ignore: Ids of rules or letters of groups, such as `["P", "T1"]`, to ask alone or not to ask.
    """

    dialect: str | None
    queries: int | None
    keys: int | None
    heads: int | None
    meant: str | None
    attn: str | None
    window: int | None
    no_mask: bool
    head_mask: str | None
    outputs: str | os.PathLike[str] | None
    select: Iterable[str] | None
    ignore: Iterable[str] | None


def check(
    model: Model | None = None,
    batch: Batch = None,
    mask: AnyArray | torch.Tensor | str | os.PathLike[str] | None = None,
    goal: str | None = "forward",
    **options: Unpack[CheckKeywords],
) -> Findings:
    """Ask a model and a batch, or a mask alone, for every known mistake, by what is handed over and what it does.

    The model is run where it is and as it is, in evaluation mode and without gradients; it is afterwards as it was.

    Args:
        model: A hub id, folder, `config.json`, `.gguf` file or `demo:bert`; or a model of transformers. None for a mask
            alone.
        batch: A text, or several that form one padded batch; or the arguments of the model's forward, labels too.
        mask: A mask of the batch's own, in the place of the model's: [batch, token], or four axes; or the file of one.
        goal: What the batch is for: "forward" (training, too), "generate", or None where both are to be thought of.
        **options: See `CheckKeywords` and what it builds on.

    Returns:
        The findings: what is found makes them true.

    Raises:
        MaskvizError: what is asked for is not there, does not go together, or could not be run with no rule to say why.
        TypeError: an option there is not.
    """
    check_options("check", options, CheckKeywords)
    purpose = None if goal is None else word(Purpose, goal, "goal")
    chosen = chosen_rules(options.get("select"), options.get("ignore"))
    if model is None:
        own = mask_of(mask)
        if own is None or batch is not None:
            raise UsageError("there is no model", "give a model and a batch, or a mask alone: check(mask=...)")
        sizes = Sizes(None, *(options.get(name) for name in ("heads", "queries", "keys", "window")))  # type: ignore[arg-type]
        alone_asked = MaskAsked(_dialect(options), sizes, options.get("dtype", "auto"), options.get("meant"))
        return checked_mask(own, alone_asked, chosen)
    if not isinstance(model, str | os.PathLike) and is_own(model):
        return _own(model, batch, mask, options, chosen)
    with alone(), volume_kept():
        subject = replace(_subject(batch, options), purpose=purpose, mask=_named_mask(mask))
        return checked(NOBODY, subject, model_of(model, only(options, ModelKeywords)), chosen)


def _own(model: Any, batch: Any, mask: Any, options: CheckKeywords, chosen: tuple[str, ...]) -> Findings:
    """Check a module, as Python asks for it."""
    others = {*CheckKeywords.__annotations__} - {*OwnKeywords.__annotations__, *ModelKeywords.__annotations__}
    others -= {*BatchKeywords.__annotations__, "meant", "select", "ignore"}
    beside = "mask" if mask is not None else next((name for name in options if name in others), None)
    if beside is not None:
        raise UsageError(f"{beside}= is for models of transformers, and this is a module", f"leave out {beside}=")
    own = only(options, OwnKeywords, ModelKeywords, BatchKeywords)
    with alone():
        return own_checked(NOBODY, own_of(model, batch, own), chosen, options.get("meant"))


def checked(watcher: Watcher, subject: Checkable, model: Loading | Live, chosen: tuple[str, ...]) -> Findings:
    """Check a model on what it is given.

    Args:
        watcher: Who is told.
        subject: What is to be checked.
        model: With which model.
        chosen: Ids of the rules to ask.

    Raises:
        MaskvizError: the batch could not be run, and no rule says why.
    """
    found = examined(watcher, subject, model)
    findings = ask(found.case, chosen)
    if found.problem is not None and not findings:
        raise found.problem
    return Findings(
        Checked(
            subject.name,
            found.about,
            findings,
            found.asked,
            found.notes,
            "" if subject.file is None else str(subject.file),
            () if subject.rows is None else subject.rows.lines,
            unasked(found.case, chosen),
            0 if found.case.run is None else found.case.run.passes,
        )
    )


@dataclass(frozen=True, slots=True)
class MaskAsked:
    """What is said of a mask that is checked alone.

    Attributes:
        dialect: How it is to be read, None to go by its shape.
        sizes: What it is to fit.
        dtype: The type the model computes in; "auto" where it is not known.
        meant: The mask that is meant, in the words of rules.
    """

    dialect: Dialect | None = None
    sizes: Sizes = field(default_factory=Sizes)
    dtype: str = "auto"
    meant: str | None = None


def checked_mask(mask: Path | torch.Tensor, asked: MaskAsked, chosen: tuple[str, ...]) -> Findings:
    """Check a mask alone, and draw it.

    Raises:
        UsageError: it cannot be read as its dialect, and no rule says why.
        NotFoundError: its file cannot be read at all.
    """
    if asked.dtype not in DTYPES:
        raise UsageError(f"dtype {asked.dtype!r} is not known", f"choose one of {', '.join(DTYPES)}")
    numbers = MaskNumbers.of(mask)
    dialect, notes = guessed(numbers, asked.dialect)
    array = array_of(numbers, dialect, asked.sizes, "" if asked.dtype == "auto" else asked.dtype)
    if dialect in PACKED and not array.unreadable:
        notes = (*packed_words(array.values, dialect), *notes)
    looked = (f"{numbers.name} as {dialect}", *(("the framework's own attention with it",) if array.trial else ()))
    case = Case(array=array, meant=None if asked.meant is None else parse_rule(asked.meant))
    findings = ask(case, chosen)
    if array.unreadable:
        if all(one.severity is Severity.NOTE for one in ask(case)):
            where = either("docs/concepts/conventions.md", "maskviz convert --list")
            raise UsageError(array.unreadable, f"{where} says what {dialect} is")
        notes = (*notes, f"it cannot be read as {dialect}: {array.unreadable}")
    name = str(mask) if isinstance(mask, Path) else numbers.name
    file = name if isinstance(mask, Path) else ""
    return Findings(Checked(name, "", findings, looked, notes, file, unasked=unasked(case, chosen)), _drawn(array))


def _drawn(array: GivenArray) -> tuple[Panel, ...]:
    """The mask as its dialect reads it."""
    visible = array.visible
    if visible is None or not visible.size or visible.size > _MOST_CELLS:
        return ()
    found = known(visible)
    rule, offset = (Opaque("unrecognised"), 0) if found is None else (found.rule, found.offset)
    written = Written(array.dialect, array.values.shape, array.dtype)
    return mask_pictures(Converted(array.name, written, None, visible, rule, offset))


def _dialect(options: CheckKeywords) -> Dialect | None:
    dialect = options.get("dialect")
    return None if dialect is None else word(Dialect, dialect, "dialect")


def _named_mask(mask: Any) -> tuple[str, torch.Tensor] | None:
    own = mask_of(mask)
    if own is None:
        return None
    return (own.name, read_mask(own)) if isinstance(own, Path) else ("the mask", own)


def own_checked(watcher: Watcher, own: Own, chosen: tuple[str, ...], meant: str | None = None) -> Findings:
    """Check a module of the user's own on its inputs: its run, and every mask that reaches an attention.

    Raises:
        MaskvizError: its inputs do not fit, it raises, or no attention is heard.
    """
    ran = own_ran(watcher, own_ready(own))
    watcher.progress("checking ...")
    return Findings(checked_own(own, ran, chosen, meant))


def _subject(batch: Batch, options: CheckKeywords) -> Checkable:
    """What is to be checked, as Python says it."""
    arguments, file = batch if isinstance(batch, Mapping) else None, options.get("inputs")
    if file is not None:
        if batch is not None:
            raise UsageError("inputs= and a batch are given together", "inputs are passed on as they are")
        arguments = read_inputs(Path(file))
    if isinstance(batch, Mapping) or file is not None:
        request = Request(no_cache=options.get("no_cache", False))
    else:
        request = request_of(batch, only(options, BatchKeywords))
    backend, outputs = options.get("attn"), options.get("outputs")
    tokenizer = options.get("tokenizer")
    texts = request.texts
    more = f" (+{len(texts) - 1} more)" if len(texts) > 1 else ""
    return Checkable(
        request,
        name=str(file) if file is not None else f"{texts[0]}{more}" if texts else "the batch",
        arguments=None if arguments is None else _tensors(arguments),
        unmasked=options.get("no_mask", False),
        dialect=_dialect(options),
        window=options.get("window"),
        meant=options.get("meant"),
        backend=None if backend is None else word(Backend, backend, "attention backend"),
        tokenizer=None if isinstance(tokenizer, str) else tokenizer,
        head_mask=options.get("head_mask"),
        outputs=None if outputs is None else Path(outputs),
    )


def _tensors(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with arrays and lists of numbers as tensors."""

    def of(one: Any) -> Any:
        return tensor_of(one) if isinstance(one, np.ndarray) or _is_numbers(one) else one

    return {name: of(one) for name, one in arguments.items() if not _is_text(one)}


def _is_text(value: Any) -> bool:
    """Whether a part of a batch is a column of texts, which no forward takes."""
    return isinstance(value, str) or (isinstance(value, list | tuple) and bool(value) and isinstance(value[0], str))


def _is_numbers(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, int | float)
