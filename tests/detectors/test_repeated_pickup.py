from tests.detectors.asking import US, ask, violated

FIRST = {
    "picked_up_at": 10,
    "first_pickup_cities": [330100],
    "first_pickup_place": "浙江省 杭州市",
}


def test_another_pickup_a_day_later_is_routine_and_beyond_it_is_not() -> None:
    assert violated("repeated_pickup", **FIRST, pickup_at=34, pickup_cities=[330100]) is None
    assert violated("repeated_pickup", **FIRST, pickup_at=34 + US, pickup_cities=[330100]) is not None


def test_another_pickup_in_another_city_is_a_violation_at_once() -> None:
    assert violated("repeated_pickup", **FIRST, pickup_at=11, pickup_cities=[320500]) == 11


def test_a_pickup_that_names_no_city_is_judged_by_its_time_alone() -> None:
    assert violated("repeated_pickup", **FIRST, pickup_at=11) is None
    assert violated("repeated_pickup", picked_up_at=10, pickup_at=35) == 35


def test_the_evidence_shows_both_pickups() -> None:
    evidence = ask(
        "repeated_pickup", **FIRST, pickup_at=11, pickup_cities=[320500], pickup_place="江苏省 苏州市"
    ).evidence
    assert (evidence["first_place"], evidence["again_place"]) == ("浙江省 杭州市", "江苏省 苏州市")
