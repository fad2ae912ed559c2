import polars as pl
import pytest

from pipeline.places import resolve, squash


def resolved(
    province: str | None = None, city: str | None = None, district: str | None = None
) -> tuple[str | None, ...]:
    places = pl.DataFrame(
        {"province": [province], "city": [city], "district": [district]},
        schema=dict.fromkeys(("province", "city", "district"), pl.String),
    )
    return resolve(places).select("province", "city").row(0)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (("浙江省", "杭州市"), ("浙江", "杭州")),
        (("西藏自治区", "拉萨市"), ("西藏", "拉萨")),
        (("新疆维吾尔自治区", "巴音郭楞蒙古自治州"), ("新疆", "巴音郭楞")),
        (("广西壮族自治区", "南宁市"), ("广西", "南宁")),
        (("内蒙古自治区", "锡林郭勒盟"), ("内蒙古", "锡林郭勒")),
        (("湖南省", "湘西土家族苗族自治州"), ("湖南", "湘西")),
        (("西藏自治区", "阿里地区"), ("西藏", "阿里")),
        (("新疆维吾尔自治区", "克孜勒苏柯尔克孜自治州"), ("新疆", "克孜勒苏")),
    ],
)
def test_the_full_and_the_short_name_of_a_city_are_the_same(long: tuple[str, str], short: tuple[str, str]) -> None:
    assert resolved(*long) == short == resolved(*short)


@pytest.mark.parametrize("city", ["北京市", "市辖区", "县", None])
def test_a_municipality_is_a_city_whatever_its_city_field_says(city: str | None) -> None:
    assert resolved("北京市", city, "朝阳区") == ("北京", "北京")


def test_a_city_without_its_province_is_still_that_city() -> None:
    assert resolved(city="上海市")[1] == resolved("上海", "上海市")[1] == "上海"


def test_a_directly_administered_county_is_its_own_city() -> None:
    assert resolved("河南省", "省直辖县级行政区划", "济源市") == ("河南", "济源")


def test_a_province_alone_names_no_city() -> None:
    assert resolved("浙江省") == ("浙江", None)


def test_spelling_and_letter_case_do_not_matter() -> None:
    assert resolved(city="São Paulo ") == resolved(city="sãopaulo")


def test_texts_are_the_same_without_space_punctuation_and_full_width_forms() -> None:
    texts = pl.DataFrame({"text": ["科技园１栋", " 科技园，1 栋。", "。", "", None]})
    assert texts.select(squash(pl.col("text")))["text"].to_list() == ["科技园1栋", "科技园1栋", None, None, None]


def test_a_district_that_is_a_city_by_name_is_known_as_county() -> None:
    places = pl.DataFrame({"province": ["浙江省"] * 2, "city": ["金华市"] * 2, "district": ["义乌市", "婺城区"]})
    assert resolve(places)["county"].to_list() == ["义乌", None]
