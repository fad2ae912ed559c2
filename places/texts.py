"""Texts reduced, in columns, to what matters about places in them: the names of divisions and a few signs around them.

Millions of texts differ in house numbers, couriers and phones; what is left of them here are some thousands of *skeletons*, and
only these are read one by one (`places.reading`). A skeleton is a string of pieces, see `pieces`.
"""

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

import polars as pl

from places.abroad import countries
from places.divisions import COUNTY, cities_of
from places.names import readings

FIELD: Final = "\x1f"
"""Parts what stands in different fields."""
_NAME, _SIGN, _END = "\x02", "\x01", "\x03"
"""Before a name, before a sign, and after either."""
_SHARED_END: Final = "\x04"
"""After a name that several cities have, at first."""
_TAIL: Final = "\x05"
"""Between such a name and the characters that follow it."""
_APART: Final = "\x06"
"""Before a piece that does not follow directly on the one before."""
_TAIL_LENGTH: Final = 4
_FEW: Final = 1000
"""So many texts are searched one by one in less time (15 µs each) than Polars needs to prepare for 14,000 names (40 ms)."""

COUNTRY: Final = "="
"""Begins the piece for a country: `=US`."""
OPEN, CLOSE, ROAD, ZONE, HUB, BACK = "[", "]", "road", "zone", "hub", "back"

_STREETS: Final = ("路", "街", "大道", "大街", "巷", "道")
_SIDES: Final = (*"东西南北中前后内外", *"一二三四五六七八九十")
_ROADS: Final = (
    *(side + street for side in ("", *_SIDES) for street in _STREETS),
    *("".join(sides) + street for sides in itertools.product("东西南北中", "一二三四五六") for street in "路街道"),
    *("环路", "胡同", "弄", "镇", "乡", "街道", "村", "屯", "社区", "湾", "湖", "路口"),
)
"""After a short name: it is a street, a village or a bay that is called like a division."""
_ZONES: Final = (
    "经济技术开发区",
    "经济开发区",
    "高新技术开发区",
    "高新技术产业开发区",
    "开发区",
    "高新区",
    "工业园区",
    "工业园",
    "产业园",
)
"""After a short name: the zone lies in that division."""
_HUBS: Final = ("中转", "转运", "分拨", "集散", "枢纽", "处理中心", "分拣", "航空")
"""A building of the carrier's that may be called after another city than it stands in."""
_BACK: Final = ("退回", "退件", "退签", "拒收", "转寄", "改派", "改寄", "转投")
"""The parcel goes back, or elsewhere: the place says nothing of where it was to go."""
_MARKS: Final = {
    **dict.fromkeys(_ROADS, ROAD),
    **dict.fromkeys(_ZONES, ZONE),
    **dict.fromkeys(_HUBS, HUB),
    **dict.fromkeys(_BACK, BACK),
    OPEN: OPEN,
    CLOSE: CLOSE,
    FIELD: FIELD,
}

_ONWARD: Final = (
    "发往|送往|运往|转往|开往|飞往|寄往|前往|去往|发至|转至|发向"  # as in: 快件离开A，发往B
    "|下一站|下一网点|上一站|转运目的地|目的地[:是为]|下级地点"
)
"""What follows is the next hop (or the last one): not where the parcel is."""
_PERSON: Final = "签收人|收件人|派件人|取件人|投递员|联系电话|客服|投诉"
"""What follows, up to a bracket, is a person."""


class Piece(NamedTuple):
    """A name, or a sign.

    Attributes:
        text: The name, or which sign it is.
        follows: Whether it comes directly after the piece before, or begins the text; at most a space or a comma between.
        tail: For a name that several cities have: the characters after it.
    """

    text: str
    follows: bool
    tail: str


def skeletons(texts: pl.Series, *, scanned: bool) -> pl.Series:
    """Return the skeleton of each text, empty where it names no division. In `scanned` texts what lies ahead is cut off."""
    text = pl.col("text").str.normalize("NFKC").str.to_lowercase()
    if scanned:
        text = text.str.replace(f"(?s)(?:{_ONWARD}).*", "").str.replace_all(rf"(?:{_PERSON})[^【\[]*", " ")
    text = text.str.replace_all(r"[【「『〔]", OPEN).str.replace_all(r"[】」』〕]", CLOSE)
    # Spaces at both ends, too: the names of countries in Latin letters are looked for as whole words.
    text = pl.concat_str(pl.lit(" "), text.str.replace_all(r"[\s\p{P}--[\[\]]]+", " "), pl.lit(" "))
    prepared = pl.DataFrame({"text": texts.cast(pl.String)}).select(text=text)
    if len(texts) > _FEW:
        found = prepared.select(pl.col("text").str.replace_many(*replacements(), leftmost=True))
    else:
        one_by_one = [None if text is None else _marked(text) for text in prepared["text"]]
        found = pl.DataFrame({"text": pl.Series(one_by_one, dtype=pl.String)})
    named = pl.when(pl.col("text").str.contains(_NAME, literal=True)).then("text")
    return found.select(skeleton=_bare(named).fill_null("")).to_series()


def _marked(text: str) -> str:
    """Mark what is found in one text, as `replace_many` does it in columns."""
    names, marks = _by_beginning()
    done, at, parts = 0, 0, []
    while at < len(text):
        for name in (*names.get(text[at : at + 2], ()), text[at]):
            if name in marks and text.startswith(name, at):
                parts += [text[done:at], marks[name]]
                at = done = at + len(name)
                break
        else:
            at += 1
    return "".join([*parts, text[done:]])


def _bare(found: pl.Expr) -> pl.Expr:
    """Take what is between the names and signs out of a text, leaving whether there was more than a character of it."""
    # A street or a zone says something of a name only where it directly follows one.
    found = found.str.replace_all(rf"([^{_END}{_SHARED_END}]){_SIGN}(?:{ROAD}|{ZONE}){_END}", "${1}  ")
    found = found.str.replace_all(
        rf"{_SHARED_END}([^{_NAME}{_SIGN}]{{0,{_TAIL_LENGTH}}})", rf"{_TAIL}${{1}}{_END}${{1}}"
    )
    found = found.str.replace_all(rf"(^|{_END})[^{_NAME}{_SIGN}]{{2,}}", rf"${{1}}{_APART}")
    found = found.str.replace_all(rf"(^|{_END})[^{_NAME}{_SIGN}{_APART}]", "${1}")
    return found.str.strip_chars_end(_APART)


def pieces(skeleton: str) -> Iterator[Piece]:
    """Return what a skeleton consists of."""
    for piece in skeleton.split(_END)[:-1]:
        text, _, tail = piece.lstrip(_APART + _NAME + _SIGN).partition(_TAIL)
        yield Piece(text, not piece.startswith(_APART), tail)


def skeleton_of(name: str) -> str:
    """Return the skeleton of a field that is one name."""
    return f"{_NAME}{name}{_END}{_SIGN}{FIELD}{_END}"


@cache
def _marks() -> dict[str, str]:
    """Return the signs: 二道 is a county, not a street."""
    abroad = {name if not name.isascii() else f" {name} ": COUNTRY + code for name, code in countries().items()}
    return {mark: kind for mark, kind in (abroad | _MARKS).items() if mark not in readings()}


@cache
def _found() -> dict[str, str]:
    """Return everything that is looked for, and how it is marked where it is found.

    The longest come first: of two that begin at one place the first is taken.
    """
    shared = set(_shared())
    marks = {mark: f"{_NAME if kind[0] == COUNTRY else _SIGN}{kind}{_END}" for mark, kind in _marks().items()}
    names = {name: f"{_NAME}{name}{_SHARED_END if name in shared else _END}" for name in readings()}
    return dict(sorted((marks | names).items(), key=lambda item: (-len(item[0]), item[0])))


@cache
def replacements() -> tuple[pl.Series, pl.Series]:
    """Return everything that is looked for, and how it is marked, as `replace_many` wants it."""
    return pl.Series(_found().keys()).implode(), pl.Series(_found().values()).implode()


@cache
def _by_beginning() -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return what is looked for by its first two characters, and how it is marked."""
    names: dict[str, list[str]] = {}
    for name in _found():
        if len(name) > 1:
            names.setdefault(name[:2], []).append(name)
    return names, _found()


@cache
def _shared() -> list[str]:
    """Return the names of counties that several cities have."""
    return [
        name
        for name, meant in readings().items()
        if {reading.division.level for reading in meant} == {COUNTY}
        and len(cities_of(code for reading in meant for code in reading.division.became)) > 1
    ]
