from typing import Any

import polars as pl
import pytest

from pipeline import places as places_module
from pipeline.arrays import NONE
from pipeline.places import Places, squash

ORDER = ("province", "city", "district", "detail", "place_text")
SCAN = ("country", "province", "city", "district", "facility", "place_text", "description")


def frame(columns: tuple[str, ...], *rows: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(columns, pl.String))


def scanned(**fields: str) -> dict[str, Any]:
    """What is known of a scan's place."""
    places = Places()
    [number] = places.add(frame(SCAN, fields), scanned=True)
    return places.resolved.row(int(number), named=True)


def ordered(**fields: str) -> dict[str, Any]:
    """What is known of an order's address."""
    places = Places()
    [number] = places.add(frame(ORDER, fields), scanned=False)
    return places.resolved.row(int(number), named=True)


@pytest.mark.parametrize(
    ("long", "short", "code"),
    [
        (("浙江省", "杭州市"), ("浙江", "杭州"), 330100),
        (("西藏自治区", "拉萨市"), ("西藏", "拉萨"), 540100),
        (("新疆维吾尔自治区", "巴音郭楞蒙古自治州"), ("新疆", "巴音郭楞"), 652800),
        (("广西壮族自治区", "南宁市"), ("广西", "南宁"), 450100),
        (("内蒙古自治区", "锡林郭勒盟"), ("内蒙古", "锡林郭勒"), 152500),
        (("湖南省", "湘西土家族苗族自治州"), ("湖南", "湘西"), 433100),
        (("西藏自治区", "阿里地区"), ("西藏", "阿里"), 542500),
        (("新疆维吾尔自治区", "克孜勒苏柯尔克孜自治州"), ("新疆", "克孜勒苏"), 653000),
        (("吉林省", "吉林市"), ("吉林", "吉林"), 220200),
    ],
)
def test_the_full_and_the_short_name_of_a_city_are_the_same(
    long: tuple[str, str], short: tuple[str, str], code: int
) -> None:
    for province, city in (long, short):
        assert scanned(province=province, city=city)["cities"] == [code]
    assert scanned(city=long[1])["cities"] == [code]


@pytest.mark.parametrize("city", ["北京市", "市辖区", "县", "某市"])
def test_a_municipality_is_a_city_whatever_its_city_field_says(city: str) -> None:
    assert ordered(province="北京市", city=city, district="朝阳区")["cities"] == [110000]
    assert ordered(province="北京市")["cities"] == [110000]


def test_a_directly_administered_county_is_its_own_city() -> None:
    county = {"province": "河南省", "city": "省直辖县级行政区划", "district": "济源市"}
    assert ordered(**county)["cities"] == scanned(province="河南", city="济源")["cities"] == [419001]


def test_a_county_in_its_citys_stead_is_that_city() -> None:
    assert scanned(province="浙江省", city="义乌市")["cities"] == scanned(city="金华")["cities"] == [330700]


def test_a_province_alone_names_no_city() -> None:
    found = scanned(province="浙江省")
    assert (found["cities"], found["division"]) == (None, 330000)


def test_names_that_contradict_each_other_leave_both_open() -> None:
    cities = scanned(province="江苏省", city="杭州市")["cities"]
    assert {330100, 320100, 320500} <= set(cities)
    assert 330200 not in cities


def test_a_city_in_no_list_keeps_its_name_and_may_be_anywhere_in_its_province() -> None:
    found = ordered(province="浙江省", city="甲市", district="乙市")
    assert (found["unlisted_city"], found["unlisted_province"], found["unlisted_county"]) == ("甲", "浙江", "乙")
    assert {330100, 330200} <= set(found["cities"])
    assert scanned(city="Shenzhen City")["unlisted_city"] == scanned(city="SHENZHEN")["unlisted_city"] == "shenzhen"
    assert scanned(city="São Paulo ")["unlisted_city"] == scanned(city="saopaulo")["unlisted_city"] == "saopaulo"


@pytest.mark.parametrize("nothing", [{"city": "未知"}, {"city": "市辖区"}, {"city": " "}])
def test_a_field_that_means_nothing_names_no_city(nothing: dict[str, str]) -> None:
    found = scanned(**nothing)
    assert (found["cities"], found["unlisted_city"]) == (None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"country": "US", "city": "Los Angeles"},
        {"country": "USA"},
        {"country": "United States"},
        {"province": "美国"},
        {"place_text": "【美国】快件已签收"},
        {"place_text": "Los Angeles CA 90001, United States"},
    ],
)
def test_a_place_abroad_is_compared_by_its_country(fields: dict[str, str]) -> None:
    found = scanned(**fields)
    assert (found["cities"], found["city"], found["division"]) == ([-10963], "美国", None)


def test_the_beginning_of_the_postal_code_is_kept_abroad() -> None:
    assert ordered(place_text="United States, Los Angeles CA 90001")["postal"] == "900"
    assert ordered(place_text="浙江省杭州市310000")["postal"] is None


def test_hong_kong_macau_and_taiwan_are_divisions_whether_they_are_written_as_country_or_not() -> None:
    assert scanned(country="HK")["cities"] == scanned(province="香港特别行政区")["cities"] == [810000]
    assert scanned(country="CN", city="Macau")["cities"] == [820000]
    assert ordered(place_text="台湾省台北市")["cities"] == [710000]


def test_texts_count_only_where_the_fields_name_no_city() -> None:
    assert scanned(city="杭州市", place_text="【深圳市】")["cities"] == [330100]
    assert scanned(province="浙江省", place_text="【杭州市】")["cities"] == [330100]
    assert scanned(province="浙江省", place_text="【深圳市】")["cities"] is None


def test_of_a_scans_texts_its_place_counts_first_and_a_sorting_centre_last() -> None:
    texts = {"place_text": "【杭州市】", "facility": "宁波鄞州营业部", "description": "【温州市】快件已到达"}
    assert 330100 in scanned(**texts)["cities"]
    del texts["place_text"]
    assert scanned(**texts)["cities"] == [330200]
    texts["facility"] = "宁波转运中心"
    assert scanned(**texts)["cities"] == [330300]
    del texts["description"]
    assert scanned(**texts)["cities"] == [330200]


def test_the_division_is_the_smallest_in_which_a_place_lies_for_sure() -> None:
    assert ordered(place_text="河南省郑州市金水区")["division"] == 410105
    assert ordered(province="河南省", city="郑州市")["division"] == 410100
    assert scanned(place_text="【焦作市】快件已到达【济源沁园营业部】")["division"] == 410000  # one or the other
    assert scanned(place_text="【鼓楼区】")["division"] is None
    assert scanned(country="HK")["division"] == 810000
    assert scanned(province="浙江省", city="新城市")["division"] == 330000


def test_a_place_is_shown_as_it_was_written_and_a_text_by_its_names() -> None:
    assert ordered(province="浙江", city="杭州市", detail="文三路1号")["place"] == "浙江 杭州市"
    assert ordered(place_text="浙江省杭州市西湖区文三路1号")["place"] == "浙江省 杭州市 西湖区"
    assert ordered(place_text="浙江杭州")["city"] == "浙江省 杭州市"


def test_places_that_are_known_by_the_same_are_one_and_nothing_is_none() -> None:
    places = Places()
    texts = frame(
        SCAN,
        {"description": "【杭州市】 【西湖一部】 的 张师傅 已揽收"},
        {"description": "【杭州市】 【西湖一部】 的 李师傅 已揽收"},
        {"description": "快件已揽收"},
        {},
    )
    first, second, *nothing = places.add(texts, scanned=True)
    assert first == second
    assert nothing == [NONE, NONE]
    assert list(places.add(texts, scanned=True)) == [first, second, NONE, NONE]
    assert len(places.resolved) == 1


def test_what_is_remembered_of_writings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "_SEEN_MAX", 2)
    places = Places()
    for number in range(20):
        [found] = places.add(frame(ORDER, {"place_text": f"浙江省杭州市文三路{number}号"}), scanned=False)
        assert found == 0
        assert len(places._seen[False]) <= 3


def test_texts_are_the_same_without_space_punctuation_and_full_width_forms() -> None:
    texts = pl.DataFrame({"text": ["科技园１栋", " 科技园，1 栋。", "。", "", None]})
    assert texts.select(squash(pl.col("text")))["text"].to_list() == ["科技园1栋", "科技园1栋", None, None, None]
