"""A model on a batch, asked for every chosen trap. Imports torch and transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskviz.analyse.check import check, unasked
from maskviz.api.checking.case import examined
from maskviz.api.checking.subject import Subject
from maskviz.cli.asking import loading_of, request_of
from maskviz.cli.env import Env
from maskviz.conventions.files import read_mask
from maskviz.core.checks.findings import Checked
from maskviz.core.checks.given_batch import GivenBatch
from maskviz.load.inputs.files import read_inputs


def checked_model(
    env: Env, options: Mapping[str, Any], batch: tuple[tuple[str, ...], GivenBatch | None], chosen: tuple[str, ...]
) -> Checked:
    """Check a model on texts or on rows of a file, with a mask file in their company where there is one.

    Raises:
        MaskvizError: the batch could not be run, and no rule says why.
    """
    texts, rows = batch
    asked = {**options, "model": options["model"] or "demo:bert"}
    mask, inputs = options["mask"], options["inputs"]
    subject = Subject(
        request_of(asked, texts),
        rows=rows,
        arguments=None if inputs is None else read_inputs(inputs),
        unmasked=options["no_mask"],
        mask=None if mask is None else (mask.name, read_mask(mask)),
        dialect=options["dialect"],
        window=options["window"],
        meant=options["meant"],
        purpose=options["purpose"],
        backend=options["attn"],
        head_mask=options["head_mask"],
        outputs=options["outputs"],
    )
    found = examined(env, subject, loading_of(asked))
    findings = check(found.case, chosen)
    if found.problem is not None and not findings:
        raise found.problem
    more = f" (+{len(texts) - 1} more)" if len(texts) > 1 else ""
    what = options["file"] or options["inputs"] or (f"{texts[0]}{more}" if texts else "ids")
    lines = () if rows is None else rows.lines
    file = "" if options["file"] is None else str(options["file"])
    return Checked(
        str(what),
        found.about,
        findings,
        found.asked,
        found.notes,
        file,
        lines,
        unasked(found.case, chosen),
        0 if found.case.run is None else found.case.run.passes,
    )
