"""A run that was made to be shown, asked for every trap. Imports torch and transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskviz.analyse.check import check, unasked
from maskviz.api.checking.case import examined_run
from maskviz.cli.env import Env
from maskviz.core.checks.findings import Checked
from maskviz.core.errors import UsageError
from maskviz.core.words import Severity
from maskviz.load.models.loading import Loading
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded
from maskviz.store.saved import Saved
from maskviz.view.tokens import text_line

# Options of `show` that make a run the rules cannot be asked about.
_OTHERS = ("past", "step", "mask", "pool", "rows", "parallel")


def uncheckable(options: Mapping[str, Any]) -> None:
    """Refuse `--check` beside what makes a run it knows nothing of.

    Raises:
        UsageError: they are given together.
    """
    for name in _OTHERS:
        if options["check"] and options[name] is not None:
            hint = "'maskviz check' takes --mask" if name == "mask" else f"leave out --{name}"
            raise UsageError(f"--check and --{name} are given together", hint)


def checked_run(env: Env, loading: Loading, run: tuple[Loaded, Encoded], saved: Saved) -> Checked:
    """Ask every rule about a run, of a what-if about the plain one."""
    loaded, encoded = run
    env.progress("checking ...")
    found = examined_run(loading.source, loaded, encoded, saved.before or saved.trace)
    return Checked(
        text_line(encoded.batch.texts) or "ids",
        found.about,
        check(found.case),
        found.asked,
        notes=found.notes,
        unasked=unasked(found.case),
        passes=0 if found.case.run is None else found.case.run.passes,
    )


def has_errors(checked: Checked) -> bool:
    """Whether `check` would end with exit code 5."""
    return checked.count(Severity.ERROR) > 0
