"""A second, naive reading of places, for `tests.oracle`: a few cities written down here, and everything else by its name.

It shares nothing with the project, least of all its lists: it knows the places that the tests' stories speak of, and no others.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

WHOLE: Final = {"北京", "上海", "天津", "重庆", "香港", "澳门", "台湾"}
"""Provinces that are one city, whatever their `city` field says."""

CITIES: Final = """
河北 石家庄 保定 廊坊
山西 太原
内蒙古 呼和浩特
辽宁 沈阳 大连
吉林 长春 延边(延吉 珲春)
黑龙江 哈尔滨
江苏 南京 苏州(昆山 常熟) 无锡 徐州 南通
浙江 杭州 金华(义乌 永康) 宁波 温州(乐清) 嘉兴(海宁)
安徽 合肥 阜阳 马鞍山
福建 泉州(晋江 石狮) 福州 厦门
江西 南昌 赣州
山东 济南(莱芜) 临沂 潍坊 青岛
河南 郑州 洛阳 济源
湖北 武汉 恩施 仙桃
湖南 长沙 株洲
广东 广州 深圳 东莞 佛山 汕头 中山
广西 南宁
海南 海口
四川 成都 自贡 凉山(西昌)
贵州 贵阳
云南 昆明 大理
西藏 拉萨
陕西 西安
甘肃 兰州
青海 西宁
宁夏 银川
新疆 乌鲁木齐 巴音郭楞(库尔勒)
"""
"""By province the cities, and in brackets counties that are written in their city's stead."""

SAID: Final = {
    "【西安】快件已签收": {"西安", "辽源", "牡丹江"},  # each has a district called 西安
    "安徽省巢湖市含山县环峰镇": {"马鞍山"},  # 含山 was in 巢湖, which was divided in 2011
    "【鼓楼区】快件已签收": set[str](),  # 南京, 徐州, 开封 and 福州 have one
    "United States, Los Angeles CA 90001": {"US"},
    "【美国】快件已签收": {"US"},
}
"""Texts that take knowledge of the country to read."""

ABROAD: Final = {"US": "US", "美国": "US", "JP": "JP", "日本": "JP"}

TEXTS: Final = ("text", "detail", "facility", "description")
HUB: Final = re.compile("中转|转运|分拨")
ONWARD: Final = re.compile("(发往|下一站).*", re.DOTALL)
PEOPLES: Final = (
    "朝鲜族|土家族|苗族|侗族|布依族|藏族|羌族|彝族|哈尼族|壮族|白族|傣族|景颇族|傈僳族|回族"
    "|蒙古族|蒙古|哈萨克族|哈萨克|柯尔克孜族|柯尔克孜"
)
"""The peoples after whom the autonomous prefectures are named."""
CITY_ENDING: Final = re.compile(f"(?<=.)(市|地区|盟|特别行政区|({PEOPLES})+自治州)$")
PROVINCE_ENDING: Final = re.compile("(?<=.)(省|市|(壮族|回族|维吾尔)?自治区|特别行政区)$")


class Place(NamedTuple):
    """A city, as far as it can be told from a place."""

    cities: frozenset[str]
    """Those that it may be, of the ones known here; empty for a city that is not."""
    name: str | None = None
    """Of a city that is not known here: its name, and those of its province and county where it gives them."""
    province: str | None = None
    county: str | None = None


def plain(text: str | None) -> str | None:
    """Return the text without white space, punctuation and full-width forms; None when nothing is left."""
    folded = unicodedata.normalize("NFKC", text or "")
    kept = "".join(sign for sign in folded if not sign.isspace() and unicodedata.category(sign)[0] not in "PZ")
    return kept or None


def stem(name: str | None, ending: re.Pattern[str]) -> str | None:
    """Return a place's name without what kind of place it is, so that 杭州 and 杭州市 are one."""
    bare = plain(name)
    return ending.sub("", bare.casefold(), count=1) if bare else None


def _known() -> Iterator[tuple[str, str, str]]:
    for line in CITIES.split("\n")[1:-1]:
        province, *_ = line.split()
        for city, counties in re.findall(r" ([^ ()]+)(?:\(([^)]+)\))?", line):
            yield from ((name, province, city) for name in (city, *counties.split()))
    yield from ((name, name, name) for name in WHOLE)


KNOWN: Final = {name: (province, city) for name, province, city in _known()}
"""By the name of a city or county its province and city."""


def city_of(place: Mapping[str, Any] | None) -> Place | None:
    """Return the city that a place lies in, or None when it names none.

    What its fields say counts before its texts, and these in this order: its own, what the facility is called, the description;
    a sorting centre last, as it may be called after another city.
    """
    given = place or {}
    country = ABROAD.get(given.get("country") or given.get("province") or "")
    province = stem(given.get("province"), PROVINCE_ENDING)
    city = stem(given.get("city"), CITY_ENDING)
    if country:
        return Place(frozenset({country}), city)
    if province in WHOLE:
        return Place(frozenset({province}))
    if city in {"县", "市辖区"}:
        city = None
    if city and "直辖" in city:  # 省直辖县级行政区划 in the city's stead: the county is directly under the province
        city = stem(given.get("district"), CITY_ENDING)
    if city:
        return _in_fields(province, city, given)
    names = ("text", "detail", "description", "facility") if HUB.search(given.get("facility") or "") else TEXTS
    found = (_in_text(given[name], province) for name in names if given.get(name))
    return next((Place(frozenset(cities)) for cities in found if cities), None)


def _in_fields(province: str | None, city: str, given: Mapping[str, Any]) -> Place:
    if province == "辽宁" and plain(given.get("city")) == "中山":  # the district of 大连: no 市 says that it is a city
        city = "大连"
    county = stem(given.get("district"), re.compile("市$")) if (given.get("district") or "").endswith("市") else None
    if city not in KNOWN:
        return Place(frozenset(_of_province(province)), city, province, county)
    where, of = KNOWN[city]
    if province is None or province == where:
        return Place(frozenset({of}))
    # 辽宁省 中山市: one of the two is wrong.
    return Place(frozenset({of, *_of_province(province)}))


def _of_province(province: str | None) -> set[str]:
    """Return the cities of a province, as far as they are known here."""
    return {city for where, city in KNOWN.values() if where == province}


def _in_text(text: str, province: str | None) -> set[str]:
    """Return what the first known name in the text means, if it lies in the province; after 发往 the parcel is not yet."""
    if text in SAID:
        return SAID[text]
    here = ONWARD.sub("", text)
    for start in range(len(here)):
        for name, (where, city) in KNOWN.items():
            if here.startswith(name, start):
                return {city} if province in {None, where} else set()
    return set()


def differ(here: Place, there: Place) -> bool:
    """Return whether these are surely two cities: none that the one may be is one that the other may be.

    Two cities that are not known here differ by name, if they are written in one script, or by province where both give
    one; a city that is the other's county is the same place.
    """
    apart = bool(here.cities and there.cities) and not here.cities & there.cities
    if here.name is None or there.name is None or here.name.isascii() != there.name.isascii():
        return apart
    other_province = here.province is not None and there.province is not None and here.province != there.province
    within = here.name == there.county or there.name == here.county
    return (here.name != there.name and not within) or other_province or apart
