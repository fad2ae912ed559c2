import pytest

from places.regions import region_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("河南省", "410000"),
        ("郑州市", "410100"),
        ("广东省 深圳市", "440300"),
        ("410000", "410000"),
        ("内蒙古", "150000"),
        ("北京", "110000"),
        ("济源", "419001"),
        ("南京市鼓楼区", "320106"),
        ("香港", "810000"),
        ("台湾省", "710000"),
    ],
)
def test_a_region_is_a_code(text: str, code: str) -> None:
    assert region_code(text) == code


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("河难省", "did you mean 河南省"),
        ("", "no region"),
        ("123456", "six digits"),
        ("浙江省杭州市文三路", "no region"),
        ("吉林", "吉林省 [(]220000[)] or 吉林省 吉林市 [(]220200[)]"),
        ("鼓楼区", "江苏省 南京市 鼓楼区"),
        ("浙江省 深圳市", "write which"),
        ("襄樊市", "today's 湖北省 襄阳市 [(]420600[)]"),
        ("西咸新区", "陕西省 西安市 [(]610100[)] or 陕西省 咸阳市"),
    ],
)
def test_what_is_no_region_is_refused_with_what_to_write_instead(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        region_code(text)
