import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from places import texts as texts_module
from places.divisions import COUNTY, city_of, divisions
from places.names import stem
from places.texts import skeletons
from tests.places.reading import found_in, names_of

FRAGMENTS = (
    *(
        "浙江省",
        "杭州市",
        "西湖区",
        "西湖",
        "鼓楼区",
        "中山",
        "北京",
        "东路",
        "路",
        "街道",
        "开发区",
        "中转",
        "退回",
        "发往",
    ),
    *("【", "】", "[4107]", " ", "，", "号", "1", "Los Angeles", " United States ", "韩国", "文三", "。\x1f"),
)


@pytest.mark.parametrize(
    ("text", "city", "county"),
    [
        ("浙江省杭州市西湖区文三路100号", "杭州市", "西湖区"),
        ("浙江义乌北苑街道", "金华市", "义乌市"),
        ("杭州余杭良渚", "杭州市", "余杭区"),
        ("北京市市辖区东城区", "北京市", "东城区"),
        ("北京 北京市 顺义区 胜利街道", "北京市", "顺义区"),
        ("吉林省吉林市船营区", "吉林市", "船营区"),
        ("吉林船营区", "吉林市", "船营区"),
        ("辽宁朝阳", "朝阳市", None),
        ("朝阳市双塔区", "朝阳市", "双塔区"),
        ("大连中山区人民路", "大连市", "中山区"),
        ("中山市东区", "中山市", None),
        ("青海省海南州共和县", "海南藏族自治州", "共和县"),
        ("新疆伊犁州伊宁市", "伊犁哈萨克自治州", "伊宁市"),
        ("内蒙古科左中旗保康镇", "通辽市", "科尔沁左翼中旗"),
        ("贵州省毕节地区大方县", "毕节市", "大方县"),
        ("湖北省直辖县级行政区划仙桃市", "仙桃市", "仙桃市"),
        ("新疆生产建设兵团第八师石河子市北四路", "石河子市", "石河子市"),
        ("湖北省神农架林区松柏镇", "神农架林区", "神农架林区"),
        ("广东省东莞市长安镇", "东莞市", None),
        ("东莞市南城区", "东莞市", None),
        ("河南省郑州市管城区", "郑州市", "管城回族区"),
        ("西安交通大学", "西安市", None),
        ("台湾省台北市信义区", "台湾省", None),
        ("香港九龙旺角", "香港特别行政区", None),
        ("13900000000 张三 上海奉贤区南桥镇", "上海市", "奉贤区"),
        ("南山区蛇口望海路", "深圳市", "南山区"),  # 鹤岗 has a 南山区, too, but no 蛇口.
    ],
)
def test_an_address_lies_in_the_division_that_its_names_mean_together(text: str, city: str, county: str | None) -> None:
    assert names_of(found_in([text], scanned=False)[0]) == (city, county)


@pytest.mark.parametrize(
    ("text", "city", "county"),
    [
        ("上海南京东路100号", "上海市", None),
        ("兰州市安宁东路818号", "兰州市", None),
        ("海口市南海大道南侧", "海口市", None),
        ("上饶市三清山西大道64号", "上饶市", None),
        ("北京市海淀区苏州街33号", "北京市", "海淀区"),
        ("浙江省临海市靖江南路175号", "台州市", "临海市"),
        ("江津区双福镇", "重庆市", "江津区"),
        ("上海市浦东新区浦东大道555号；广州公司：广州市天河区", "上海市", "浦东新区"),
        ("长春二道公司", "长春市", "二道区"),
    ],
)
def test_streets_and_firms_that_are_called_like_a_place_are_not_that_place(
    text: str, city: str, county: str | None
) -> None:
    assert names_of(found_in([text], scanned=False)[0]) == (city, county)


@pytest.mark.parametrize(
    "text",
    ["鼓楼区", "朝阳区金长安C座", "北京南路506号", "中山路100号", "高新区", "城区西区大道1599号", "浙江省", "科技园南区", ""],
)  # fmt: skip
def test_a_text_that_names_no_city_for_sure_names_none(text: str) -> None:
    assert found_in([text], scanned=False)[0].cities is None


@pytest.mark.parametrize(
    ("text", "city", "county"),
    [
        ("湖北省襄樊市樊城区", "襄阳市", "樊城区"),
        ("上海市闸北区", "上海市", "静安区"),
        ("南京白下区", "南京市", "秦淮区"),
        ("云南思茅市翠云区", "普洱市", "思茅区"),
        ("安徽省巢湖市含山县", "马鞍山市", "含山县"),
        ("安徽省巢湖市", "合肥市", "巢湖市"),
        ("四川省资阳市简阳市", "成都市", "简阳市"),
        ("安徽省六安市寿县", "淮南市", "寿县"),
        ("山东莱芜市钢城区", "济南市", "钢城区"),
        ("广西柳州地区来宾县", "来宾市", None),
        ("宁夏银川市城区", "银川市", "兴庆区"),
        ("杭州江干区", "杭州市", None),
        ("重庆渝北区", "重庆市", "两江新区"),
        ("江苏省南通市通州市", "南通市", "通州区"),
        ("浙江省绍兴县柯桥", "绍兴市", "柯桥区"),
    ],
)
def test_what_a_former_name_meant_lies_in_what_it_became(text: str, city: str, county: str | None) -> None:
    assert names_of(found_in([text], scanned=False)[0]) == (city, county)


@pytest.mark.parametrize(
    ("text", "city", "county"),
    [
        ("【嘉兴市】 快件离开 【杭州中转部】 已发往 【郑州中转】", "嘉兴市", None),
        ("由【上海中转部】发往【广州番禺公司】", "上海市", None),
        ("快件在【上海浦东康桥店】完成分拣，准备发往 【上海浦江中转场】", "上海市", "浦东新区"),
        ("【石家庄市】 快件已在 【长安三部】 签收", "石家庄市", "长安区"),
        ("[宁波市]余姚江南的雅尚已揽收", "宁波市", "余姚市"),
        ("[北京主城区公司昌平区宏福服务部]到达目的地网点", "北京市", "昌平区"),
        ("离开【永川大宗营业部】,下一站【重庆中心】", "重庆市", "永川区"),
        ("[4107]到达【新乡县翟坡揽投部】", "新乡市", "新乡县"),
        ("【宁波市】快件已到达【广州街营业部】", "宁波市", None),
        ("【东莞市】快件已到达【长安镇一部】", "东莞市", None),
        ("正在派件..(派件人:张北,电话:187****0000)[深圳市]", "深圳市", None),
        ("到达：广东广州增城市新塘公司 上级站点：广东广州分拨中心", "广州市", "增城区"),
        ("快件由【华北廊坊枢纽】发往【北京通州集散】", "廊坊市", None),
    ],
)
def test_a_scan_is_where_its_bracket_says_and_never_where_it_goes_next(
    text: str, city: str, county: str | None
) -> None:
    found = found_in([text], scanned=True)[0]
    assert names_of(found) == (city, county)


@pytest.mark.parametrize(
    "text",
    [
        "快件已发往【上海浦东康桥店】",
        "快件已到达【华南转运中心】",
        "【朝阳区】快件已由蜂巢代收",
        "【长安三部】快件已签收",
        "【吉林】快件已签收",
        "快件交给张北，正在派送途中",
        "已签收，签收人：南京路王先生",
        "【广州市】快件已签收，退回件签收",
        "【杭州市】快件已拒收",
    ],
)
def test_a_scan_that_tells_nothing_sure_or_of_a_way_back_is_nowhere(text: str) -> None:
    assert found_in([text], scanned=True)[0].cities is None


@pytest.mark.parametrize(
    ("text", "cities"),
    [
        ("【焦作市】快件已到达【济源沁园营业部】", {"410800", "419001"}),
        ("【六安市】快件已在【寿县】签收", {"341500", "340400", "340100"}),
        ("【江北区】快件已签收", {"330200", "500000"}),
        ("【西安】快件已签收", {"610100", "220400", "231000"}),
        ("【上海市】快件已在【嘉定安亭】签收", {"310000", "320500"}),
    ],
)
def test_where_names_leave_several_cities_open_all_are_kept(text: str, cities: set[str]) -> None:
    """A station that contradicts its city, a former district, a district called like a city, a station near the border."""
    found = found_in([text], scanned=True)[0].cities
    assert found is not None
    assert cities <= found


def test_a_new_area_that_lies_in_two_cities_may_be_in_either() -> None:
    assert found_in(["陕西省西咸新区沣东新城"], scanned=False)[0].cities == {"610100", "610400"}


def test_every_county_is_found_in_its_city_with_all_its_names_and_is_never_taken_for_another_without_some() -> None:
    today = divisions()
    counties = [division for division in today.values() if division.level == COUNTY]
    lines = [[today[code] for code in sorted(county.line)] for county in counties]
    cities = [city_of(county.code) for county in counties]
    whole = found_in(["".join(one.name for one in line) + "北京路1号" for line in lines], scanned=False)
    assert [found.city for found in whole] == cities
    short = found_in(["".join(stem(one.name) for one in line) + "公司" for line in lines], scanned=True)
    assert [found.city for found in short] == cities
    for texts in (
        ["".join(one.name for one in line[1:]) + "中山路" for line in lines],
        [line[-1].name + "中山路" for line in lines],
        [line[0].name + line[-1].name for line in lines],
    ):
        answers = list(zip(found_in(texts, scanned=False), cities, strict=True))
        assert all(found.city in {city, None} for found, city in answers)
        assert all(city in found.cities for found, city in answers if found.cities is not None)


@given(st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join), min_size=1, max_size=5), st.booleans())
def test_few_texts_are_read_as_many_are(texts: list[str], scanned: bool) -> None:
    """A few are searched by our own loop, many by Polars."""
    few = skeletons(pl.Series(texts), scanned=scanned)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts_module, "_FEW", 0)
        assert few.equals(skeletons(pl.Series(texts), scanned=scanned))


def test_texts_that_differ_in_what_says_nothing_of_places_have_one_skeleton() -> None:
    texts = pl.Series(
        [
            "【杭州市】 【杭州西湖】 的 张师傅（13900000001） 正在第1次派件",
            "【杭州市】【杭州西湖】 的 李师傅（13900000002） 正在第2次派件",
        ]
    )
    assert skeletons(texts, scanned=True).n_unique() == 1
