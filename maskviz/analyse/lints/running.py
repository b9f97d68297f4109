"""Rules about looking at a model: what capturing, asking for weights and broken numbers do."""

from __future__ import annotations

import math
from collections.abc import Iterator

from maskviz.analyse.lints.found import found
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Confidence, Finding
from maskviz.core.checks.lint import Lint, Need


def capture_changes_outputs(case: Case) -> Iterator[Finding]:
    """N2: the outputs of the run that shows its weights differ from those of a plain one by more than rounding."""
    run = case.run
    if run is None or run.trace.drift is None or run.broken or run.rounds:
        return
    if math.isnan(run.trace.drift) or run.trace.drift > run.noticeable:
        yield found(
            "N2",
            run.trace.card.architecture,
            f"eager attention, which shows its weights, puts out something else than {run.trace.plain_attention}",
            measured=f"outputs differ by up to {run.trace.drift:.2g}, the largest is {run.size:.2g}",
            confidence=Confidence.MEASURED,
        )


def no_weights_returned(case: Case) -> Iterator[Finding]:
    """N5: the config asks for attention weights, and none are returned."""
    if case.run is None or case.model is None:
        return
    if case.model.asks_weights and case.run.weights is False:
        message = f"output_attentions is set, and {case.model.implementation} attention returns no weights"
        yield found("N5", case.model.architecture, message, confidence=Confidence.MEASURED)


def broken_padding(case: Case) -> Iterator[Finding]:
    """N6: the embedding of a padding token is not a number."""
    if case.run is None or not case.run.broken:
        return
    drift = case.run.trace.drift
    cost = "outputs of real tokens are not numbers either" if drift is not None and math.isnan(drift) else ""
    ids = ", ".join(map(str, case.run.broken))
    yield found("N6", "the embeddings", f"those of id {ids}, which is padding here, are NaN or infinite", measured=cost)


LINTS: tuple[Lint, ...] = (
    Lint("N2", capture_changes_outputs, (Need.RUN, Need.WEIGHTS)),
    Lint("N5", no_weights_returned, (Need.RUN, Need.WEIGHTS)),
    Lint("N6", broken_padding, (Need.RUN, Need.WEIGHTS)),
)
