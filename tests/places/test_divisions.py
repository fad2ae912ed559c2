import re

import pytest

from places.divisions import city_of, divisions, former, neighbours, table
from places.names import stem


def test_what_former_divisions_and_aliases_became_are_divisions_of_today() -> None:
    today = divisions()
    gone = {code for _, code, *_ in table("former.tsv")}
    for name, code, parent, until, became, names in table("former.tsv"):
        assert re.fullmatch(r"\d{6}", code), name
        assert re.fullmatch(r"\d{4}-\d{2}", until), name
        assert [today[one].name for one in became.split()] == names.split(), name
        assert parent in today or parent in gone, name
        assert today.get(code) is None or today[code].name != name, f"{name} is a division of today"
    for name, codes in table("aliases.tsv"):
        assert set(codes.split()) <= set(today), name
    assert len({division.code for division in former()}) == len(former())


def test_neighbours_are_counties_of_different_cities() -> None:
    for one, other, _ in table("neighbours.tsv"):
        assert city_of(one) != city_of(other)
    assert "320500" in neighbours()["310114"]


@pytest.mark.parametrize(
    ("code", "city"),
    [
        ("330106", "330100"),
        ("330100", "330100"),
        ("330000", None),
        ("310115", "310000"),
        ("310000", "310000"),
        ("419001", "419001"),
        ("659001", "659001"),
        ("810000", "810000"),
    ],
)
def test_divisions_are_compared_by_prefecture_or_as_a_whole(code: str, city: str | None) -> None:
    assert city_of(code) == city


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("内蒙古自治区", "内蒙古"),
        ("新疆维吾尔自治区", "新疆"),
        ("克孜勒苏柯尔克孜自治州", "克孜勒苏"),
        ("恩施土家族苗族自治州", "恩施"),
        ("恭城瑶族自治县", "恭城"),
        ("管城回族区", "管城"),
        ("浦东新区", "浦东"),
        ("神农架林区", "神农架"),
        ("芒市", "芒市"),
        ("寿县", "寿县"),
        ("锡林郭勒盟", "锡林郭勒"),
    ],
)
def test_a_short_name_leaves_out_the_kind_and_the_people(name: str, short: str) -> None:
    assert stem(name) == short
