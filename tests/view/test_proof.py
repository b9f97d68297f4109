"""A proof in words."""

from __future__ import annotations

from dataclasses import replace

from maskviz.core.panels.page import Note
from maskviz.core.results.results import FutureProof, Proof
from maskviz.view.masks.proof import proof_panels
from tests.tracing.conftest import example_of


def test_a_run_that_is_doubted_proves_nothing_whatever_its_notes_say() -> None:
    trace, proof = example_of("llama").trace, Proof((), FutureProof(0.0, True))
    for doubted, said in ((False, "Proven: every cell"), (True, "Nothing is proven: the run")):
        note = proof_panels(proof, replace(trace, doubted=doubted, notes=("do not rely on this run",)))[-1]
        assert isinstance(note, Note) and note.text.startswith(said)
