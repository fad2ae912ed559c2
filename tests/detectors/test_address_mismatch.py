from typing import Any

import pytest

from tests.detectors.asking import ask, violated

HANGZHOU, SUZHOU, NANJING, WUXI = 330100, 320500, 320100, 320200
ADDRESS = {"address_place": "浙江省 杭州市", "address_city": "浙江省 杭州市", "address_cities": [HANGZHOU]}


def drop(*cities: int, **more: Any) -> dict[str, Any]:
    return ADDRESS | {"drop_at": 7, "drop_cities": list(cities) or None} | more


def unlisted(city: str | None, province: str | None = None, **more: Any) -> dict[str, Any]:
    """A parcel that ended in a city that is in no list, as does the address: Springfield, Ohio."""
    address = {"address_cities": None, "address_unlisted_city": "springfield", "address_unlisted_province": "ohio"}
    return drop() | address | {"drop_unlisted_city": city, "drop_unlisted_province": province} | more


def test_another_city_is_a_violation_at_the_time_of_the_last_scan() -> None:
    assert violated("address_mismatch", **drop(SUZHOU)) == 7


def test_the_same_city_is_none() -> None:
    assert violated("address_mismatch", **drop(HANGZHOU)) is None


def test_it_is_a_violation_only_where_no_city_that_the_one_may_be_is_one_that_the_other_may_be() -> None:
    assert violated("address_mismatch", **drop(SUZHOU, HANGZHOU)) is None
    assert violated("address_mismatch", **drop(SUZHOU, NANJING)) == 7
    assert violated("address_mismatch", **drop(SUZHOU, NANJING, address_cities=[NANJING, WUXI])) is None


def test_cities_in_no_list_differ_by_name_or_by_province() -> None:
    assert violated("address_mismatch", **unlisted("springfield", "ohio")) is None
    assert violated("address_mismatch", **unlisted("springfield")) is None
    assert violated("address_mismatch", **unlisted("shelbyville", "ohio")) == 7
    assert violated("address_mismatch", **unlisted("springfield", "oregon")) == 7


def test_a_city_in_no_list_that_is_the_county_of_the_other_is_the_same_place() -> None:
    assert violated("address_mismatch", **unlisted("dayton", "ohio", address_unlisted_county="dayton")) is None
    assert violated("address_mismatch", **unlisted("dayton", "oregon", address_unlisted_county="dayton")) == 7
    assert violated("address_mismatch", **unlisted("dayton", drop_unlisted_county="springfield")) is None


def test_one_beginning_of_the_postal_code_is_one_place() -> None:
    postal = {"address_postal": "900", "drop_postal": "900"}
    assert violated("address_mismatch", **unlisted("hollywood", **postal)) is None
    assert violated("address_mismatch", **unlisted("hollywood", **(postal | {"drop_postal": "100"}))) == 7


def test_names_in_different_scripts_are_not_compared() -> None:
    assert violated("address_mismatch", **unlisted("斯普林菲尔德")) is None
    assert violated("address_mismatch", **unlisted("斯普林菲尔德", address_cities=[-1], drop_cities=[-1])) is None
    assert violated("address_mismatch", **unlisted("斯普林菲尔德", address_cities=[-1], drop_cities=[-2])) == 7


def test_cities_in_no_list_of_two_countries_differ_whatever_they_are_called() -> None:
    assert violated("address_mismatch", **unlisted("springfield", address_cities=[-1], drop_cities=[-2])) == 7


def test_a_city_in_no_list_is_apart_from_a_known_one_only_by_where_it_may_lie() -> None:
    """A misspelt city of Zhejiang may be Hangzhou, one of Jiangsu may not; one of nowhere may be anything."""
    assert violated("address_mismatch", **drop(HANGZHOU, 330200, drop_unlisted_city="杭洲")) is None
    assert violated("address_mismatch", **drop(SUZHOU, NANJING, drop_unlisted_city="苏洲")) == 7
    assert violated("address_mismatch", **drop(drop_unlisted_city="甲")) is None


@pytest.mark.parametrize("unknown", [drop(), drop(SUZHOU, address_cities=None)])
def test_it_abstains_where_the_city_of_either_place_is_not_known(unknown: dict[str, Any]) -> None:
    assert violated("address_mismatch", **unknown) is None


def test_it_abstains_on_parcels_that_turned_back() -> None:
    assert violated("address_mismatch", **drop(SUZHOU, turned_back=True)) is None


def test_the_evidence_shows_both_places_as_written_and_as_understood() -> None:
    row = drop(SUZHOU, drop_status="delivered", drop_place="苏州", drop_city="江苏省 苏州市")
    evidence = ask("address_mismatch", **row).evidence
    assert (evidence["address"], evidence["scan_place"], evidence["scan_status"]) == (
        "浙江省 杭州市",
        "苏州",
        "delivered",
    )
    assert (evidence["address_city"], evidence["scan_city"]) == ("浙江省 杭州市", "江苏省 苏州市")
