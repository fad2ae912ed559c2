from tests.schemas.carriers.abroad import AUSTRALIAPOST, check_real
from tests.schemas.carriers.saying import faults, places, told

NUMBER = "LX000000017AU"


def test_parcels_alone_and_in_consignments_are_told_under_their_own_number() -> None:
    assert told(AUSTRALIAPOST) == [f"03-01 18:30:00 picked_up australiapost {NUMBER}"]
    assert places(AUSTRALIAPOST) == [{"text": "ONEIDA VIC"}]
    event = {"date": "2026-03-01T21:30:00+11:00", "description": "Delivered"}
    assert told(
        {"tracking_id": NUMBER, "trackable_items": [{"article_id": "A1", "events": [event]}, {"events": [event]}]}
    ) == [
        "03-01 18:30:00 delivered australiapost A1",
        f"03-01 18:30:00 delivered australiapost {NUMBER}",
    ]


def test_a_number_that_is_not_known_tells_nothing() -> None:
    assert told({"tracking_results": [{"tracking_id": NUMBER, "errors": [{"code": "ESB-10001"}]}]}) == []


def test_faults_name_the_field() -> None:
    broken = {"tracking_id": NUMBER, "trackable_items": [{"events": [{"date": "soon"}]}]}
    assert faults(broken)[0].startswith("trackable_items.0.events.0.date: must be a time")


def test_real_payloads() -> None:
    check_real("australiapost", {"karrio/australiapost__TrackingResponse.json": "tttcapiiDottttccpDooaccdtii"})
