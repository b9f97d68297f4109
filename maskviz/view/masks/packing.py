"""Whether packed texts are separated, in words."""

from __future__ import annotations

from maskviz.core.panels.page import Note, Tone
from maskviz.core.run.packing import crossing_of
from maskviz.core.run.trace import Trace

# Texts whose share is named one by one; of more, the largest is.
_NAMED = 3


def packing_notes(trace: Trace) -> list[Note]:
    """A sentence on what crosses between packed texts, measured on the trace; nothing where nothing is packed."""
    crossing = crossing_of(trace)
    if crossing is None:
        return []
    if crossing.separated:
        said = "Packed texts are separated: no attention crosses from one to another."
        mixing = [layer for layer in trace.silent if layer.mixes]
        if not mixing:
            return [Note(said)]
        others = (
            f"no attention crosses between packed texts, but layers without a matrix ({mixing[0].kind}) may mix them"
        )
        return [Note(others, Tone.WARNING)]
    shares = {text + 1: share for text, share in enumerate(crossing.attention) if share > 0}
    if not shares:
        return [Note("packed texts are not separated: they may see each other", Tone.WARNING)]
    if len(shares) > _NAMED:
        said = f"up to {max(shares.values()):.2f} of a text's attention falls on other texts"
    else:
        where = "text 1" if list(shares) == [2] else "other texts"
        said = " and ".join(f"{share:.2f} of text {text}'s" for text, share in shares.items())
        said += f" attention falls on {where}"
    return [Note(f"packed texts are not separated: {said}", Tone.WARNING)]
