"""Text of figures: which fonts have its glyphs, how wide it is, and escapes for what no font here can draw."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontEntry, FontProperties, findfont, findSystemFonts, fontManager, get_font

from maskviz.core.writing import printable

_HOUSE = "DejaVu Sans"  # comes with matplotlib, so figures look the same everywhere
# Fonts that claim every character and draw boxes, or hold symbols of formulas at odd code points.
_UNFIT = ("Last Resort", "STIX", "cmb10", "cmex10", "cmmi10", "cmr10", "cmss10", "cmsy10", "cmtt10", "DejaVu")
_REGIONS = ("SC", "TC", "HK", "JP", "KR")
_CJK_PACKAGE = "noto_cjk_sans_otc"
_CJK = ((0x1100, 0x11FF), (0x2E80, 0xA4CF), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))


@dataclass(frozen=True, slots=True)
class Typeface:
    """Fonts for one page.

    Attributes:
        families: Names of font families, tried one after the other for each character.
        missing: Characters none of them has; they are drawn as escapes.
        dpi: Device pixels per inch at which widths are measured: hinted letters are a little wider than drawn ones.
    """

    families: tuple[str, ...]
    missing: frozenset[str]
    dpi: int = 150

    def shown(self, text: str) -> str:
        """Return `text` with control characters and characters without a glyph as escapes."""
        text = printable(text)
        if self.missing.isdisjoint(text):
            return text
        return "".join(escape(character) if character in self.missing else character for character in text)

    def properties(self, size: float, bold: bool) -> FontProperties:
        """Return matplotlib's description of this typeface at `size` points."""
        # Asked for a weight that one of the families lacks, matplotlib would complain on stderr.
        heavy = bold and all(map(_has_bold, self.families))
        return FontProperties(family=list(self.families), size=size, weight="bold" if heavy else "normal")

    def width(self, text: str, size: float, bold: bool = False) -> float:
        """Return the width of shown text in inches at `size` points."""
        return _width(self, text, size, bold)

    def fit(self, text: str, size: float, room: float) -> str:
        """Return the text as shown, cut with an ellipsis to at most `room` inches."""
        text = self.shown(text)
        if self.width(text, size) <= room:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(text[:middle] + "…", size) <= room else (low, middle - 1)
        return text[:low] + "…"

    def wrap(self, text: str, size: float, room: float, bold: bool = False) -> list[str]:
        """Return the text as shown in lines of at most `room` inches; words longer than a line are cut."""
        lines: list[str] = []
        line = ""
        for word in self.shown(text).split(" "):
            candidate = f"{line} {word}" if line else word
            if not line or self.width(candidate, size, bold) <= room:
                line = candidate
                continue
            lines.append(line)
            line = word
        return [self.fit(each, size, room) for each in [*lines, line]]

    @property
    def apology(self) -> str:
        """The sentence about characters that could not be drawn, empty where there are none."""
        if not self.missing:
            return ""
        ordered = sorted(self.missing)
        named = " ".join(map(escape, ordered[:5])) + (f" and {len(ordered) - 5} more" if len(ordered) > 5 else "")
        install = ["pip install 'maskviz[cjk]'"] if any(map(_is_cjk, ordered)) else []
        install += ["fonts-noto-core or fonts-symbola (Debian)"] if not all(map(_is_cjk, ordered)) else []
        return f"No font here has glyphs for {named}: {' and '.join(install)}, or another font that has them."


def escape(character: str) -> str:
    """Return `\\u4f60` or `\\U0001f469` for a character."""
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def typeface_for(texts: Iterable[str], dpi: int = 150) -> Typeface:
    """Return the fonts that draw all of `texts`, looking beyond the house font only where a glyph is missing."""
    needed = {character for text in texts for character in printable(text)}
    families, missing = _families_for(frozenset(needed - _characters_of(_HOUSE)))
    return Typeface(families, missing, dpi)


@lru_cache(maxsize=64)
def _families_for(needed: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the house font and as few others as draw `needed`, and the characters none of them has."""
    families, missing = [_HOUSE], set(needed)
    if missing:
        region = _region_of(needed)
        # Of a font's faces for several regions, the one whose forms of the same characters the text asks for.
        for family in sorted(_families_at_hand(), key=lambda name: _is_of_another_region(name, region)):
            found = missing & _characters_of(family)
            if found:
                families.append(family)
                missing -= found
            if not missing:
                break
    return tuple(families), frozenset(missing)


def _region_of(characters: Iterable[str]) -> str:
    """Return the region whose forms of Chinese characters fit a text: Japan's beside kana, Korea's beside hangul."""
    names = [unicodedata.name(character, "") for character in characters]
    if any(name.startswith(("HIRAGANA", "KATAKANA")) for name in names):
        return "JP"
    return "KR" if any(name.startswith("HANGUL") for name in names) else "SC"


def _is_of_another_region(family: str, region: str) -> bool:
    named = family.rpartition(" ")[2]
    return named in _REGIONS and named != region


@lru_cache(maxsize=1)
def _families_at_hand() -> tuple[str, ...]:
    """Return installed families in a fixed order, plain sans first, so that a figure is the same twice."""

    def order(entry: FontEntry) -> tuple[bool, bool, str]:
        return "Sans" not in entry.name, entry.style != "normal", entry.name

    # Matplotlib caches its list of fonts, so a font installed since is not in it.
    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted({*findSystemFonts(), *_packaged()} - known):
        with suppress(OSError, RuntimeError, ValueError, NotImplementedError):
            fontManager.addfont(path)
    entries = sorted((e for e in fontManager.ttflist if not e.name.startswith((*_UNFIT, "."))), key=order)
    return tuple(dict.fromkeys(entry.name for entry in entries))


def _packaged() -> list[str]:
    """Return the fonts that the extra `cjk` brings."""
    package = find_spec(_CJK_PACKAGE)
    folders = [] if package is None else package.submodule_search_locations or []
    return [str(path) for folder in folders for path in Path(folder).glob("*.tt[cf]")]


@lru_cache(maxsize=256)
def _characters_of(family: str) -> frozenset[str]:
    """Return the characters a family has in each of the weights that figures use and it has."""
    found = []
    for weight in ("normal", "bold") if _has_bold(family) else ("normal",):
        try:
            font = get_font(findfont(FontProperties(family=family, weight=weight), fallback_to_default=False))
        except (OSError, RuntimeError, ValueError):  # a font file that was removed, is damaged or has no outlines
            return frozenset()
        found.append({chr(code) for code, glyph in font.get_charmap().items() if glyph})
    return frozenset(set.intersection(*found))


@lru_cache(maxsize=256)
def _has_bold(family: str) -> bool:
    weights = (str(entry.weight) for entry in fontManager.ttflist if entry.name == family)
    return any(weight in ("bold", "700") for weight in weights)


@lru_cache(maxsize=8192)
def _width(typeface: Typeface, text: str, size: float, bold: bool) -> float:
    if not text:
        return 0.0
    properties = typeface.properties(size, bold)
    width, _, _ = _ruler(typeface.dpi).get_text_width_height_descent(text, properties, False)  # type: ignore[no-untyped-call]
    return float(width) / typeface.dpi


@lru_cache(maxsize=8)
def _ruler(dpi: int) -> RendererAgg:
    return RendererAgg(8, 8, dpi)  # type: ignore[no-untyped-call]


def _is_cjk(character: str) -> bool:
    code = ord(character)
    return any(start <= code <= end for start, end in _CJK)
