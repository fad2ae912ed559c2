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
_NEXT: Final = "\x1e"
"""Between the pieces of a skeleton."""
_APART: Final = "\x1d"
"""Before a piece that does not follow directly on the one before."""
_TAIL: Final = "\x1c"
"""Between an ambiguous name and the characters that follow it."""
_TAIL_LENGTH: Final = 4

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
    "发往|送往|运往|转往|开往|飞往|寄往|前往|去往|发至|转至|发向|下一站|下一网点|上一站|转运目的地|目的地[:是为]|下级地点"
    "|签收人|收件人|派件人|取件人|联系电话|客服|投诉"
)
"""What follows is the next hop (or the last one), or a person: not where the parcel is."""


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
        text = text.str.replace(f"(?s)(?:{_ONWARD}).*", "")
    text = text.str.replace_all(r"[【「『〔]", OPEN).str.replace_all(r"[】」』〕]", CLOSE)
    # Spaces at both ends, too: the names of countries in Latin letters are looked for as whole words.
    text = pl.concat_str(pl.lit(" "), text.str.replace_all(r"[\s\p{P}--[\[\]]]+", " "), pl.lit(" "))
    names = _patterns()
    found = (
        pl.DataFrame({"text": texts.cast(pl.String)})
        .select(text=text)
        .with_row_index("row")
        .with_columns(
            at=pl.col("text").str.find_many(names, leftmost=True),
            name=pl.col("text").str.extract_many(names, leftmost=True),
        )
        .explode("at", "name")
        .filter(pl.col("name").is_not_null())
    )
    same = (pl.col("row") == pl.col("row").shift(1)).fill_null(value=False)
    before = pl.when(same).then((pl.col("at") + pl.col("name").str.len_bytes()).shift(1)).otherwise(0)
    follows_on = found.select(
        gap=pl.col("at").cast(pl.Int64) - before.cast(pl.Int64),
        same=same,
        mark=pl.col("name").replace_strict(_marks(), default=None, return_dtype=pl.String),
    )
    found = found.hstack(follows_on)
    # A street or a zone says something of a name only where it directly follows one.
    after_name = pl.col("same") & (pl.col("gap") == 0) & pl.col("mark").shift(1).is_null()
    idle = (pl.col("mark").is_in([ROAD, ZONE]) & ~after_name).fill_null(value=False)
    follows = (pl.col("gap") <= 1) & ~(pl.col("same") & idle.shift(1, fill_value=False))
    before = pl.col("text").cast(pl.Binary).bin.slice(0, pl.col("at")).cast(pl.String).str.len_chars()
    tail = pl.col("text").str.slice(before + pl.col("name").str.len_chars(), _TAIL_LENGTH)
    piece = pl.concat_str(
        pl.when(follows).then(pl.lit("")).otherwise(pl.lit(_APART)),
        pl.coalesce("mark", "name"),
        pl.when(pl.col("name").is_in(_shared())).then(pl.concat_str(pl.lit(_TAIL), tail)).otherwise(pl.lit("")),
    )
    kept = found.select("row", "mark", piece=piece, idle=idle).filter(~pl.col("idle"))
    joined = (
        kept.group_by("row", maintain_order=True)
        .agg(
            pl.col("piece").str.join(_NEXT),
            named=(pl.col("mark").is_null() | pl.col("mark").str.starts_with(COUNTRY)).any(),
        )
        .filter("named")
    )
    rows = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.get_index_type(), eager=True)})
    return rows.join(joined, on="row", how="left", maintain_order="left")["piece"].fill_null("").rename("skeleton")


def pieces(skeleton: str) -> Iterator[Piece]:
    """Return what a skeleton consists of."""
    for piece in skeleton.split(_NEXT) if skeleton else ():
        text, _, tail = piece.removeprefix(_APART).partition(_TAIL)
        yield Piece(text, not piece.startswith(_APART), tail)


@cache
def _marks() -> dict[str, str]:
    """Return the signs: 二道 is a county, not a street."""
    abroad = {name if not name.isascii() else f" {name} ": COUNTRY + code for name, code in countries().items()}
    return {mark: kind for mark, kind in (abroad | _MARKS).items() if mark not in readings()}


@cache
def _patterns() -> pl.Series:
    """Return everything that is looked for, the longest first: of two that begin at one place the first is taken."""
    return pl.Series(sorted({*readings(), *_marks()}, key=lambda name: (-len(name), name))).implode()


@cache
def _shared() -> list[str]:
    """Return the names of counties that several cities have."""
    return [
        name
        for name, meant in readings().items()
        if {reading.division.level for reading in meant} == {COUNTY}
        and len(cities_of(code for reading in meant for code in reading.division.became)) > 1
    ]
