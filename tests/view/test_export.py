"""What an export saved, as panels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maskviz.core.panels.page import Note, Table, Tone
from maskviz.core.results.export import Cost, Export, Kept, Saving, Speed, Spread
from maskviz.view.heads.export import export_panels

SAVING = Saving(
    length=128,
    before=Cost(1000, 400, 2000.0, 4000),
    after=Cost(750, 150, 1500.5, 3000),
    speeds=(Speed(16, 128, 9, Spread(9.5, 10.0, 11.0), Spread(7.5, 8.0, 8.5), Spread(0.75, 0.8, 0.9)),),
)
EXPORT = Export(
    folder=Path("smaller"),
    architecture="PrunedBertForMaskedLM",
    needs_trust=True,
    kept=(Kept("layer.0", 4, 4, (0, 2), (0, 2)), Kept("layer.1", 4, 4, (0,), (0,), zeroed=(0,))),
    silenced=6,
    difference=2.4e-7,
    output_size=12.34,
    saving=SAVING,
    file_bytes=3100,
    notes=("the folder brings code",),
)


def test_a_report_shows_both_sides_and_their_ratio() -> None:
    table = next(panel for panel in export_panels(EXPORT) if isinstance(panel, Table))
    assert table.rows == (
        ("parameters", "1,000", "750", "0.750"),
        ("in attention projections", "400", "150", "0.375"),
        ("operations per token at 128 tokens", "2,000", "1,500", "0.750"),
        ("bytes of the weights", "4,000", "3,000", "0.750"),
        ("ms for 16 texts of 128 tokens", "10.0 (9.5-11.0)", "8.0 (7.5-8.5)", "0.800 (0.750-0.900)"),
    )
    assert "3,100 bytes" in table.caption
    assert "9 rounds" in table.caption


def test_a_report_says_how_to_load_the_folder_and_what_was_checked() -> None:
    texts = [panel.text for panel in export_panels(EXPORT) if isinstance(panel, Note)]
    assert texts[0] == (
        "5 heads of 8 removed; the folder loads by from_pretrained('smaller', trust_remote_code=True) as "
        "PrunedBertForMaskedLM."
    )
    assert "at most 2.4e-07" in texts[1]
    plain = export_panels(replace(EXPORT, needs_trust=False))[0]
    assert isinstance(plain, Note)
    assert "trust" not in plain.text


def test_what_a_reader_must_know_is_a_warning() -> None:
    assert Note("the folder brings code", Tone.WARNING) in export_panels(EXPORT)


def test_no_times_are_shown_where_none_were_measured() -> None:
    table = next(
        panel for panel in export_panels(replace(EXPORT, saving=replace(SAVING, speeds=()))) if isinstance(panel, Table)
    )
    assert len(table.rows) == 4
    assert "rounds" not in table.caption
