import pytest

from tests.schemas.carriers.abroad import LAPOSTE, check_real
from tests.schemas.carriers.saying import faults, statuses, told

NUMBER = "LX000000017FR"


def shipment(code: str | None, label: str = "", date: object = "2026-03-01T11:30:00+01:00") -> dict[str, object]:
    return {"idShip": NUMBER, "event": [{"code": code, "label": label, "date": date}]}


def test_an_answer_tells_the_scans_and_not_the_timeline() -> None:
    assert told(LAPOSTE) == [f"03-01 18:30:00 picked_up laposte {NUMBER}"]
    assert told({"idShip": NUMBER, "timeline": []}) == []


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("DR1", "info_received"),
        ("PC1", "picked_up"),
        ("ET1", "in_transit"),
        ("DO2", "customs"),
        ("PB1", "exception"),
        ("ND1", "delivery_failed"),
        ("AG1", "available_for_pickup"),
        ("RE1", "returning"),
        ("DI1", "delivered"),
        ("DI2", "returned"),
        ("??", "in_transit"),
    ],
)
def test_codes_mean(code: str, meant: str) -> None:
    assert statuses(shipment(code)) == [meant]


def test_a_text_wins_over_its_code_and_faults_name_the_field() -> None:
    assert statuses(shipment("ET1", "Colis livré")) == ["delivered"]
    assert faults({"shipment": shipment("DI1", date="soon")})[0].startswith("shipment.event.0.date: must be a time")
    assert told(shipment("DI1", date=None)) == []


def test_real_payloads() -> None:
    check_real("laposte", {"karrio/laposte__TrackingResponse.json": "Datatttpi"})
