from typing import Any

import pytest

from schemas.carriers.epcis import number_of
from tests.schemas.carriers.abroad import EPCIS, check_real
from tests.schemas.carriers.saying import events, faults, places, statuses, told

SSCC = "urn:epc:id:sscc:952000.00000000017"
NUMBER = "095200000000000172"


def event(step: str | None = "accepting", **more: object) -> dict[str, Any]:
    own = {"type": "ObjectEvent", "action": "OBSERVE", "bizStep": step, "epcList": [SSCC]}
    return own | {"eventTime": "2026-03-01T18:30:00+08:00", "eventTimeZoneOffset": "+08:00"} | more


def document(*events: dict[str, Any]) -> dict[str, Any]:
    return {"type": "EPCISDocument", "schemaVersion": "2.0", "epcisBody": {"eventList": [*events]}}


PICKED_UP = f"03-01 18:30:00 picked_up epcis {NUMBER}"


def test_an_object_event_is_a_scan_of_each_object() -> None:
    assert told(EPCIS) == [PICKED_UP]
    assert places(EPCIS) == [{"facility": "urn:epc:id:sgln:952000.000017.0"}]
    two = event(epcList=[SSCC, "https://id.example.com/00/095200000000000184", SSCC])
    assert told(two) == [PICKED_UP, "03-01 18:30:00 picked_up epcis 095200000000000184"]


def test_events_are_found_in_documents_answers_and_alone() -> None:
    results = {"queryName": "q", "resultsBody": {"eventList": [event()]}}
    assert told({"@type": "EPCISQueryDocument", "epcisBody": {"queryResults": results}}) == [PICKED_UP]
    assert told({"isA": "EPCISDocument", "epcisBody": {"event": event()}}) == [PICKED_UP]
    assert told([event()]) == told({"@type": "epcis:ObjectEvent"} | event(type=None)) == [PICKED_UP]
    assert told(document()) == told(document(event(epcList=[], quantityList=[{"epcClass": "x"}]))) == []


def test_the_order_of_events_is_all_one() -> None:
    later = event("receiving", eventTime="2026-03-02T18:30:00+08:00")
    assert told(document(event(), later)) == told(document(later, event()))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("urn:epc:id:sscc:0614141.1234567890", "106141412345678908"),
        ("https://id.gs1.org/00/106141412345678908", "106141412345678908"),
        ("urn:epc:id:sgtin:0614141.107346.AB%2F17", "AB/17"),
        ("https://example.com/shop/01/09521234543213/10/L1/21/17?linkType=x", "17"),
        ("urn:epc:id:ginc:0614141.xyz47%2F11", "0614141xyz47/11"),
        ("urn:epc:id:gsin:0614141.123456789", "06141411234567890"),
        ("https://id.gs1.org/401/0614141xyz47", "0614141xyz47"),
        ("urn:epc:id:giai:0614141.12345400", "12345400"),
        ("https://example.com/parcels/SF0000000000017", "SF0000000000017"),
        ("SF0000000000017", "SF0000000000017"),
    ],
)
def test_an_object_is_named_by_what_a_label_shows(name: str, number: str) -> None:
    assert number_of(name) == number


@pytest.mark.parametrize(
    "step",
    [
        "shipping",
        "urn:epcglobal:cbv:bizstep:shipping",
        "cbv:BizStep-shipping",
        "https://ref.gs1.org/cbv/BizStep-shipping",
    ],
)
def test_steps_come_in_all_notations(step: str) -> None:
    assert statuses(event(step)) == ["departed_facility"]


@pytest.mark.parametrize(
    ("step", "disposition", "meant"),
    [
        ("commissioning", "active", "info_received"),
        ("packing", "in_progress", "info_received"),
        ("accepting", "in_progress", "picked_up"),
        ("departing", "in_transit", "departed_facility"),
        ("transporting", "in_transit", "in_transit"),
        ("arriving", "in_progress", "arrived_at_facility"),
        ("receiving", "damaged", "exception"),
        ("receiving", "urn:epcglobal:cbv:disp:returned", "returning"),
        ("void_shipping", None, "cancelled"),
        ("holding", "non_conformant", "exception"),
        (None, None, "in_transit"),
    ],
)
def test_steps_mean(step: str | None, disposition: str | None, meant: str) -> None:
    assert statuses(event(step, disposition=disposition)) == [meant]


def test_what_happens_in_a_shop_or_a_factory_is_no_scan() -> None:
    assert statuses(document(event("retail_selling"), event("cycle_counting"), event("sensor_reporting"))) == []


def test_of_the_other_kinds_an_aggregation_alone_tells_of_travel() -> None:
    packed = event(
        "loading", type="AggregationEvent", epcList=None, parentID="urn:epc:id:giai:952000.9", childEPCs=[SSCC]
    )
    assert told(packed) == [
        f"03-01 18:30:00 departed_facility epcis {NUMBER}",
        "03-01 18:30:00 departed_facility epcis 9",
    ]
    for kind in ("TransactionEvent", "TransformationEvent", "AssociationEvent"):
        assert told(event(type=kind, parentID=SSCC)) == []


def test_an_erroneous_event_is_left_out_with_its_declaration() -> None:
    wrong = event(eventID="urn:uuid:17")
    declared = wrong | {"errorDeclaration": {"declarationTime": "2026-03-02T00:00:00Z", "reason": "did_not_occur"}}
    right = event("departing", eventID="urn:uuid:18")
    expected = [f"03-01 18:30:00 departed_facility epcis {NUMBER}"]
    assert told(document(wrong, declared, right)) == told(document(right, declared, wrong)) == expected
    assert told(declared) == []


def test_the_offset_beside_the_time_counts_where_the_time_has_none() -> None:
    assert told(event(eventTime="2026-03-01T05:30:00", eventTimeZoneOffset="-05:00")) == [PICKED_UP]
    assert told(event(eventTime="2026-03-01T10:30:00.123456Z", eventTimeZoneOffset="-05:00")) == [PICKED_UP]
    assert faults(event(eventTime="2026-03-01T05:30:00", eventTimeZoneOffset=None))[0].startswith(
        "eventTime: needs an offset such as +08:00"
    )


def test_faults_name_the_field() -> None:
    assert faults(document(event(), event(eventTime="soon")))[0].startswith("epcisBody.eventList.1.eventTime: must be")
    assert faults(document(event(epcList=[{}])))[0].startswith("epcisBody.eventList.0.epcList.0: must be a string")
    assert told(event(eventTime="1970-01-01T00:00:00Z")) == []


def test_the_step_is_kept_as_the_text() -> None:
    assert [getattr(each, "description", None) for each in events(EPCIS)] == ["accepting, in_transit"]


def test_real_payloads() -> None:
    check_real(
        "epcis",
        {
            "epcis/AggregationEvent.json": "aaa",
            "epcis/AggregationEvent_2.json": "aaa",
            "epcis/Example_9.6.1-ObjectEvent-with-pseudo-SBDH-headers.json": "dda",
            "epcis/Example_9.6.3-AggregationEvent.json": "aaa",
            "epcis/Example_9.6.4-TransformationEvent.json": "",
            "epcis/JumbledFieldsOrder.json": "",
            "epcis/ObjectEvent_2.json": "dda",
            "epcis/ObjectEvent_with_error_declaration.json": "a",
            "epcis/ObjectEvent_with_persistentDisposition.json": "a" * 10 + "t" * 10,
            "epcis/TransformationEvent.json": "",
        },
    )
