"""`maskviz.check`: a model and a batch, asked for every known mistake. Imports torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np
import torch

from maskviz.analyse.check import check as ask
from maskviz.analyse.check import unasked
from maskviz.api.answer import Answer
from maskviz.api.checking.case import examined_model
from maskviz.api.checking.subject import Subject
from maskviz.api.tracing import Options, loaded_of, request_of
from maskviz.api.watcher import NOBODY
from maskviz.core.checks.findings import Checked, Finding
from maskviz.core.checks.traps import TRAPS
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page
from maskviz.core.words import Backend, Purpose, Severity
from maskviz.load.models.model import volume_kept
from maskviz.load.models.source import resolve
from maskviz.load.texts.request import Request
from maskviz.store.findings import findings_json, findings_sarif
from maskviz.tracing.seam.replacing import alone
from maskviz.view.findings import findings_page, verdict

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from maskviz.core.arrays import AnyArray

    Batch = str | Sequence[str] | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Findings(Answer):
    """What a check found; empty, and so False, where it found nothing.

    Attributes:
        checked: The findings with all there is to say of how they were found.
    """

    checked: Checked

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
        return self._of(Severity.ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Those that are warnings."""
        return self._of(Severity.WARNING)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Those that are notes."""
        return self._of(Severity.NOTE)

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(finding for finding in self if finding.severity is severity)

    def page(self) -> Page:
        """The page that `maskviz check` prints."""
        return findings_page(self.checked, {})

    def to_dict(self) -> dict[str, Any]:
        """The findings as `.json` holds them."""
        found: dict[str, Any] = json.loads(findings_json(self.checked, ""))
        return found

    def data(self, suffix: str) -> bytes | None:
        """`.json` and `.sarif`."""
        match suffix:
            case ".json":
                return findings_json(self.checked, "")
            case ".sarif":
                return findings_sarif(self.checked, "")
        return None


class CheckOptions(Options, total=False):
    """What else `check` may be told, beside what `trace` may be.

    Attributes:
        meant: The mask that is meant, such as `"block(4)"` or `"causal & window(8)"`.
        attn: The attention backend to ask, such as "sdpa"; None for the model's own.
        window: Keys a query is meant to see at most.
        select, ignore: Ids of rules or letters of groups, such as `["P", "T1"]`, to ask alone or not to ask.
    """

    meant: str | None
    attn: str | None
    window: int | None
    select: Iterable[str] | None
    ignore: Iterable[str] | None


_OF_CHECKS = ("meant", "attn", "window", "select", "ignore")
_GOALS = (None, "forward", "generate")


def check(
    model: str | os.PathLike[str] | PreTrainedModel | Any,
    batch: Batch = None,
    mask: AnyArray | torch.Tensor | None = None,
    goal: str | None = "forward",
    **options: Unpack[CheckOptions],
) -> Findings:
    """Ask a model and a batch for every mistake that is known, by what it is handed and by what it does.

    The model is run where it is and as it is, in evaluation mode and without gradients; it is afterwards as it was.

    Args:
        model: A hub id, folder, `config.json`, `.gguf` file or `demo:bert`; or a model of transformers.
        batch: A text, or several that form one padded batch; or the arguments of the model's forward, labels too.
        mask: A mask of the batch's own, in the place of the model's: [batch, token], or four axes.
        goal: What the batch is for: "forward" (training, too), "generate", or None where both are to be thought of.
        **options: See `CheckOptions` and the options of `trace`.

    Returns:
        The findings: what is found makes them true.

    Raises:
        MaskvizError: what is asked for is not there, does not go together, or could not be run with no rule to say why.
        TypeError: an option there is not.
    """
    known = {*CheckOptions.__annotations__, *Options.__annotations__} - {"head_mask", "inputs"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise TypeError(f"check() got an unexpected keyword argument {unknown[0]!r}")
    if goal not in _GOALS:
        raise UsageError(f"there is no goal {goal!r}", "it is forward (training, too) or generate")
    chosen = _chosen(options.get("select"), options.get("ignore"))
    with alone(), volume_kept():
        return _checked(model, _subject(batch, mask, goal, options), options, chosen)


def _checked(model: Any, subject: Subject, options: CheckOptions, chosen: tuple[str, ...]) -> Findings:
    named = isinstance(model, str | os.PathLike)
    source = None
    if named:
        offline, trust = options.get("offline", False), options.get("trust_remote_code", False)
        source = resolve(os.fspath(model), revision=options.get("revision"), offline=offline, trust=trust)
    loaded = loaded_of(model, subject.request, _of_trace(options))
    found = examined_model(NOBODY, subject, loaded, source)
    findings = ask(found.case, chosen)
    if found.problem is not None and not findings:
        raise found.problem
    texts = subject.request.texts
    more = f" (+{len(texts) - 1} more)" if len(texts) > 1 else ""
    return Findings(
        Checked(
            f"{texts[0]}{more}" if texts else "the batch",
            found.about,
            findings,
            found.asked,
            found.notes,
            unasked=unasked(found.case, chosen),
            passes=0 if found.case.run is None else found.case.run.passes,
        )
    )


def _subject(batch: Any, mask: Any, goal: str | None, options: CheckOptions) -> Subject:
    arguments = batch if isinstance(batch, Mapping) else None
    request = Request() if arguments is not None else request_of(batch, _of_trace(options))
    backend = options.get("attn")
    if backend is not None and backend not in list(Backend):
        raise UsageError(f"there is no attention backend {backend!r}", f"there are {', '.join(Backend)}")
    return replace(
        Subject(request, arguments=None if arguments is None else _tensors(arguments)),
        mask=None if mask is None else ("the mask", _tensor(mask)),
        meant=options.get("meant"),
        window=options.get("window"),
        purpose=None if goal is None else Purpose(goal),
        backend=None if backend is None else Backend(backend),
    )


def _of_trace(options: CheckOptions) -> Options:
    """Those options that `trace` has, too."""
    return cast("Options", {name: one for name, one in options.items() if name not in _OF_CHECKS})


def _tensors(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with arrays and lists of numbers as tensors."""

    def of(one: Any) -> Any:
        return _tensor(one) if isinstance(one, np.ndarray) or _is_numbers(one) else one

    return {name: of(one) for name, one in arguments.items() if not _is_text(one)}


def _is_text(value: Any) -> bool:
    """Whether a part of a batch is a column of texts, which no forward takes."""
    return isinstance(value, str) or (isinstance(value, list | tuple) and bool(value) and isinstance(value[0], str))


def _is_numbers(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, int | float)


def _tensor(value: Any) -> torch.Tensor:
    try:
        return value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise UsageError(f"a {type(value).__name__} is no array of numbers", "give rows of one length") from error


def _chosen(select: Iterable[str] | None, ignore: Iterable[str] | None) -> tuple[str, ...]:
    """Ids of the rules to ask."""
    chosen = tuple(TRAPS) if select is None else _named(select)
    ignored = () if ignore is None else _named(ignore)
    return tuple(one for one in TRAPS if one in chosen and one not in ignored)


def _named(words: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for word in (words,) if isinstance(words, str) else words:
        own = [one for one in TRAPS if word.upper() in (one, one.rstrip("0123456789"))]
        if not own:
            raise UsageError(f"there is no rule {word!r}", "docs/rules.md lists all of them")
        found += own
    return tuple(found)
