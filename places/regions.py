"""Regions as a person writes them, for settings and exemptions: 河南省, 广东省 深圳市, 410000."""

import difflib
import unicodedata
from collections.abc import Iterable

import polars as pl

from places.divisions import divisions, full_name
from places.names import readings
from places.reading import read_fields
from places.texts import FIELD, pieces, skeletons


def region_code(text: str) -> str:
    """Return the six-digit code of the division that `text` names: a code, or names from the province down.

    Raises:
        ValueError: It names none, several, or one that is gone or renamed; the message says what to write instead.
    """
    plain = "".join(unicodedata.normalize("NFKC", text).split())
    if plain.isascii() and plain.isdigit():
        if plain not in divisions():
            raise ValueError(
                f"no division has the code {text!r}: six digits such as 410000 (河南省) or 440300 (深圳市)"
            )
        return plain
    [skeleton] = skeletons(pl.Series([plain + FIELD]), scanned=False)
    found, _ = read_fields([skeleton])
    if not found.divisions or not all(piece.follows for piece in pieces(skeleton)):
        close = difflib.get_close_matches(plain, [name for name in readings() if name[0] != "["], n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise ValueError(f"no region is called {text!r}: write it as 河南省, 广东省 深圳市 or 440300{hint}")
    codes = [one.code for one in found.divisions if not one.is_former]
    if not codes:
        # Not taken for what it became: that may be larger, or only a part.
        raise ValueError(f"{text!r} is today's {_listed(found.codes)}: write that")
    if len(codes) > 1:
        raise ValueError(f"{text!r} may be {_listed(codes)}: write which")
    return codes[0]


def _listed(codes: Iterable[str]) -> str:
    return " or ".join(f"{full_name(code)} ({code})" for code in codes)
