"""In which administrative division a place lies, for the oracle: where `oracle_places` finds a city, and a few codes.

A code has six digits, two each for province, prefecture and county; `00` stands for the whole.
"""

from collections.abc import Mapping
from typing import Any, Final

from tests.oracle_places import KNOWN, PROVINCE_ENDING, city_of, plain, stem

PROVINCES: Final = {
    "北京": 11, "天津": 12, "河北": 13, "山西": 14, "内蒙古": 15, "辽宁": 21, "吉林": 22, "黑龙江": 23, "上海": 31,
    "江苏": 32, "浙江": 33, "安徽": 34, "福建": 35, "江西": 36, "山东": 37, "河南": 41, "湖北": 42, "湖南": 43,
    "广东": 44, "广西": 45, "海南": 46, "重庆": 50, "四川": 51, "贵州": 52, "云南": 53, "西藏": 54, "陕西": 61,
    "甘肃": 62, "青海": 63, "宁夏": 64, "新疆": 65, "台湾": 71, "香港": 81, "澳门": 82,
}  # fmt: skip

CITIES: Final = {"深圳": 440300, "中山": 442000, "仙桃": 429004, "延边": 222400}
"""Of cities that exemptions are for; of all others the province is enough."""

COUNTIES: Final = {"南山区": 440305}
"""By a name that stands in the place's district, or in its text."""

REGIONS: Final = {
    "广东省 深圳市": 440300,
    "深圳市": 440300,
    "广东省深圳市南山区": 440305,
    "中山市": 442000,
    "湖北省仙桃市": 429004,
    "延边朝鲜族自治州": 222400,
}
"""Regions of exemptions, besides provinces and codes."""


def code_of(place: Mapping[str, Any] | None) -> int | None:
    """Return the code of the smallest division that the place certainly lies in, as far as codes are needed; None for none."""
    given = place or {}
    for county, code in COUNTIES.items():
        if county == given.get("district") or county in (given.get("text") or ""):
            return code
    city = city_of(given)
    if city is None or not city.cities:
        return province_code(stem(given.get("province"), PROVINCE_ENDING))
    codes = {CITIES.get(name) or province_code(KNOWN.get(name, ("", ""))[0]) for name in city.cities}
    if len(codes) == 1:
        return codes.pop()
    provinces = {code and code // 10_000 * 10_000 for code in codes}
    return provinces.pop() if len(provinces) == 1 else None


def province_code(name: str | None) -> int | None:
    """Return the code of the province of this name."""
    return PROVINCES[name] * 10_000 if name in PROVINCES else None


def region_code(region: str) -> int | None:
    """Return the code of an exemption's region; None when there is no such region."""
    if region.isdecimal():
        return int(region)
    return REGIONS.get(region) or province_code(stem(plain(region), PROVINCE_ENDING))


def lies_within(code: int | None, region: int | None) -> bool:
    """Return whether a division is the region or a part of it."""
    if code is None or region is None:
        return False
    part = 10_000 if region % 10_000 == 0 else 100 if region % 100 == 0 else 1
    return code // part == region // part
