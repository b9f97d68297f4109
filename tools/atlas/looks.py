"""What the masks of a type look like, in words that several types share: the page's groups and filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]
# The traits that have a filter, in its order.
TRAITS = (
    "causal",
    "bidirectional",
    "window",
    "chunked",
    "prefix",
    "alternating",
    "sparse",
    "by content",
    "cross attention",
    "no attention matrix",
)
# The groups of the page, in its order.
LOOKS = (
    "Causal in every layer",
    "Causal, a window in every layer",
    "Causal, a window in some layers",
    "Causal, in chunks",
    "Causal, with parts that see each other",
    "Causal layers between layers without an attention matrix",
    "Causal, and keys chosen by content",
    "Bidirectional in every layer",
    "Bidirectional, with a window",
    "Bidirectional, in another pattern",
    "Encoder, causal decoder, cross attention",
    "Several stacks, in another pattern",
    "No attention matrix in any layer",
    "Not measured",
)
_SELF = ("encoder", "decoder", "self")


def traits_of(entry: Record, small: Sequence[Record]) -> list[str]:
    """The traits of a type's masks: of its default config, where that was run."""
    kinds = entry["kinds"]
    own = [one for one in kinds if one["stack"] != "cross"]
    reasons = {reason for one in kinds for reason in one["reasons"]}
    stacks = {one["stack"] for one in own}
    alternating = any(len({one["rule"] for one in own if one["stack"] == stack}) > 1 for stack in stacks)
    has = {
        "causal": any("future" in one["reasons"] for one in own),
        "bidirectional": any(_both_ways(one) for one in own),
        "window": "window" in reasons,
        "chunked": "chunk" in reasons,
        "prefix": any("∨" in one["rule"] for one in own),
        "alternating": alternating,
        "sparse": "sparse" in reasons or any(not one["read"] for one in [*kinds, *small]),
        "by content": any(_by_content(one) for one in [*kinds, *small])
        or any(one["is"] == "depends on content" for one in entry["silent"]),
        "cross attention": any(one["stack"] == "cross" for one in kinds),
        "no attention matrix": any(_silent(one) for one in entry["silent"]),
    }
    return [trait for trait in TRAITS if has[trait]]


def look_of(entry: Record) -> str:
    """The group of the page a type stands in."""
    traits = set(entry["traits"])
    if entry["problem"]:
        return "Not measured"
    if not entry["kinds"]:
        return "No attention matrix in any layer"
    if "cross attention" in traits or {one["stack"] for one in entry["kinds"]} >= {"encoder", "decoder"}:
        plain = not traits & {"window", "chunked", "prefix", "sparse", "by content", "no attention matrix"}
        whole = {"causal", "bidirectional", "cross attention"} <= traits
        return "Encoder, causal decoder, cross attention" if plain and whole else "Several stacks, in another pattern"
    return _look_of_one_stack(traits, entry["kinds"])


def _look_of_one_stack(traits: set[str], kinds: Sequence[Record]) -> str:
    if "causal" not in traits:
        if traits & {"sparse", "by content", "chunked", "no attention matrix"}:
            return "Bidirectional, in another pattern"
        return "Bidirectional, with a window" if "window" in traits else "Bidirectional in every layer"
    if "no attention matrix" in traits:
        return "Causal layers between layers without an attention matrix"
    if "by content" in traits or "sparse" in traits:
        return "Causal, and keys chosen by content"
    if "prefix" in traits:
        return "Causal, with parts that see each other"
    if "chunked" in traits:
        return "Causal, in chunks"
    if "window" in traits:
        every = all("window" in one["reasons"] for one in kinds)
        return "Causal, a window in every layer" if every else "Causal, a window in some layers"
    return "Causal in every layer"


def families(entry: Record) -> str:
    """The family of a type that no tiny model of was built, by its masks."""
    if not entry["kinds"]:
        return ""
    if "cross attention" in entry["traits"]:
        return "encoder-decoder"
    return "decoder" if "causal" in entry["traits"] else "encoder"


def _both_ways(kind: Record) -> bool:
    return bool(kind["read"] and "future" not in kind["reasons"])


def _by_content(kind: Record) -> bool:
    return "its own choice" in kind["rule"]


def _silent(one: Record) -> bool:
    """Whether it is a layer that mixes tokens in another way than by attention."""
    return bool(one["is"]) and one["is"] not in ("depends on content", "cross attention with nothing to attend to")
