"""What people call divisions, and which divisions a name may mean."""

import re
from collections.abc import Iterator
from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

from places.divisions import COUNTY, PREFECTURE, PROVINCE, Division, divisions, former, table

PEOPLES: Final = (
    "(?:蒙古族?|维吾尔族?|哈萨克族?|柯尔克孜族?|锡伯族?|塔吉克族?|达斡尔族|鄂温克族|朝鲜族|土家族|哈尼族|傈僳族|拉祜族|东乡族|纳西族"
    "|景颇族|布朗族|撒拉族|毛南族|仡佬族|仫佬族|阿昌族|普米族|裕固族|保安族|独龙族|布依族|回族|藏族|苗族|彝族|壮族|满族|侗族|瑶族"
    "|白族|傣族|黎族|佤族|水族|土族|羌族|怒族|畲族|各族)"
)
_AUTONOMOUS: Final = re.compile(f"^(.{{2,}}?)(?:{PEOPLES}*(?:自治区|自治州|自治县|自治旗)|{PEOPLES}+区)$")
_KINDS: Final = ("特别行政区", "行政委员会", "地区", "新区", "林区", "特区", "省", "市", "区", "县", "旗", "盟")
_FULL: Final = ("省", "市", "县", "区", "旗", "城")
_VARIANTS: Final = {PROVINCE: ("省", "自治区"), PREFECTURE: ("市", "地区", "盟"), COUNTY: ("市", "区", "县")}
"""Kinds that a division is often said to be of, because it was or could be."""


class Form(IntEnum):
    """How a name stands for a division, the surest first."""

    OFFICIAL = 0
    FORMER = 1
    VARIANT = 2
    """Its short name with another kind (平泉县, which is now 平泉市), or such a name from `aliases.tsv`."""
    SHORT = 3
    """Without its kind: 杭州, 恭城."""


class Reading(NamedTuple):
    """One division that a name may mean."""

    division: Division
    form: Form


def stem(name: str) -> str:
    """Return the name of a division without what kind of division it is; whole if a single character would be left."""
    if autonomous := _AUTONOMOUS.match(name):
        return autonomous[1]
    for kind in _KINDS:
        if name.endswith(kind) and len(name) - len(kind) > 1:
            return name.removesuffix(kind)
    return name


@cache
def readings() -> dict[str, tuple[Reading, ...]]:
    """Return what every name may mean, the surest form first. Names are in lower case."""
    found: dict[str, dict[str, Reading]] = {}
    for name, reading in _named():
        found.setdefault(name, {}).setdefault(reading.division.code, reading)
    return {name: tuple(sorted(by_code.values(), key=lambda reading: reading.form)) for name, by_code in found.items()}


def _named() -> Iterator[tuple[str, Reading]]:
    """Return all names, the surest first."""
    today = divisions().values()
    official = {division.name for division in today}
    for division in today:
        yield division.name, Reading(division, Form.OFFICIAL)
        if division.level == PREFECTURE:
            yield from ((f"[{code}]", Reading(division, Form.OFFICIAL)) for code in (division.code[:4], division.code))
    for division in former():
        yield division.name, Reading(division, Form.FORMER)
    for division in today:
        yield from ((name, Reading(division, Form.VARIANT)) for name in _variants(division) if name not in official)
    for name, codes in table("aliases.tsv"):
        form = Form.VARIANT if name.endswith(_FULL) else Form.SHORT
        yield name, Reading(_meant(name, codes.split()), form)
    for division in (*today, *former()):
        if len(short := stem(division.name)) > 1:
            yield short, Reading(division, Form.SHORT)


def _variants(division: Division) -> Iterator[str]:
    short = stem(division.name)
    if len(short) > 1 and short != division.name:
        yield from (short + kind for kind in _VARIANTS[division.level])
        if division.name.endswith("自治州"):
            yield short + "州"
        if division.name.endswith(("新区", "自治旗")):
            yield short + division.name[-1]


def _meant(name: str, codes: list[str]) -> Division:
    """Return what an alias means: a division of today, or something that lies in several."""
    today = divisions()
    if len(codes) == 1:
        return today[codes[0]]
    above = frozenset.intersection(*(today[code].line for code in codes))
    level = max(today[code].level for code in codes)
    return Division(codes[0] + name, name, level, above | {codes[0] + name}, tuple(codes))
