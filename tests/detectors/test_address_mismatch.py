import pytest

from tests.detectors.asking import ask, violated

ADDRESS = {"address_place": "浙江省 杭州市", "address_province": "浙江", "address_city": "杭州"}


def drop(province: str | None, city: str | None, **more: object) -> dict[str, object]:
    return (
        ADDRESS
        | {"drop_at": 7, "drop_province": province, "drop_city": city, "drop_place": f"{province} {city}"}
        | more
    )


def test_another_city_is_a_violation_at_the_time_of_the_last_scan() -> None:
    assert violated("address_mismatch", **drop("江苏", "苏州")) == 7


def test_the_same_city_is_none_even_where_the_scan_names_no_province() -> None:
    assert violated("address_mismatch", **drop("浙江", "杭州")) is None
    assert violated("address_mismatch", **drop(None, "杭州")) is None


def test_a_city_of_the_same_name_in_another_province_is_another_city() -> None:
    assert violated("address_mismatch", **drop("江苏", "杭州")) == 7


def test_a_city_that_is_the_county_of_the_address_is_the_same_place_unless_the_provinces_differ() -> None:
    address = {"address_city": "金华", "address_county": "义乌"}
    assert violated("address_mismatch", **drop("浙江", "义乌", **address)) is None
    assert violated("address_mismatch", **drop("江苏", "义乌", **address)) == 7
    assert violated("address_mismatch", **drop("浙江", "金华", drop_county="义乌", address_city="义乌")) is None


@pytest.mark.parametrize("unresolved", [drop(None, None), drop("江苏", None), drop("江苏", "苏州", address_city=None)])
def test_it_abstains_where_either_place_names_no_city(unresolved: dict[str, object]) -> None:
    assert violated("address_mismatch", **unresolved) is None


def test_it_abstains_on_parcels_that_turned_back() -> None:
    assert violated("address_mismatch", **drop("江苏", "苏州", turned_back=True)) is None


def test_the_evidence_shows_both_places_as_written() -> None:
    evidence = ask("address_mismatch", **drop("江苏", "苏州", drop_status="delivered")).evidence
    assert (evidence["address"], evidence["scan_place"], evidence["scan_status"]) == (
        "浙江省 杭州市",
        "江苏 苏州",
        "delivered",
    )
