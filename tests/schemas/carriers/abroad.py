"""One made-up payload, true to the format, of each service abroad, and what the real ones tell."""

import csv
import json
from typing import Any

import pytest

from schemas.carriers import AUTO, FORMATS, convert
from schemas.carriers._reading import documents
from schemas.events import Scan
from tests.schemas.carriers.labelled import SHARED, STATUSES

TRACK17 = {
    "event": "TRACKING_UPDATED",
    "data": {
        "number": "LX000000017CN",
        "carrier": 3011,
        "tag": "",
        "track_info": {
            "latest_status": {"status": "Delivered", "sub_status": "Delivered_Other"},
            "latest_event": {"time_iso": "2026-03-09T10:00:00+01:00", "description": "Delivered"},
            "tracking": {
                "providers": [
                    {
                        "provider": {"key": 3011},
                        "events": [
                            {
                                "time_iso": "2026-03-01T18:30:00+08:00",
                                "time_utc": "2026-03-01T10:30:00Z",
                                "time_raw": {"date": "2026-03-01", "time": "18:30:00", "timezone": "+08:00"},
                                "description": "Picked up",
                                "location": "SUZHOU",
                                "stage": "PickedUp",
                                "sub_status": "InTransit_PickedUp",
                                "address": {"country": "CN", "state": "Jiangsu", "city": "Suzhou"},
                            }
                        ],
                    },
                    {
                        "provider": {"key": 7041},
                        "events": [{"time_iso": "2026-03-09T10:00:00+01:00", "stage": "Delivered"}],
                    },
                ]
            },
        },
    },
}
TRACK17_V1 = {
    "code": 0,
    "data": {
        "accepted": [
            {
                "number": "LX000000017CN",
                "carrier": 3011,
                "track": {
                    "e": 10,
                    "z0": {"a": "2026-03-02 20:00", "c": "SHANGHAI", "z": "Departed from facility"},
                    "z1": [
                        {"a": "2026-03-02 20:00", "c": "SHANGHAI", "z": "Departed from facility"},
                        {"a": "2026-03-01 18:30", "c": "SUZHOU", "z": "Picked up"},
                    ],
                    "z2": [],
                },
            }
        ],
        "rejected": [],
    },
}
AFTERSHIP = {
    "ts": 1772700000,
    "event": "tracking_update",
    "msg": {
        "id": "a1",
        "tracking_number": "880000000017",
        "slug": "fedex",
        "tag": "Expired",
        "subtag": "Expired_001",
        "checkpoints": [
            {
                "slug": "fedex",
                "checkpoint_time": "2026-03-01T05:30:00-05:00",
                "message": "In FedEx possession",
                "tag": "InTransit",
                "subtag": "InTransit_002",
                "city": "Oneida",
                "state": "NY",
                "country_name": None,
                "country_iso3": "USA",
                "location": "Oneida, NY",
            },
            {"checkpoint_time": "2026-03-02T12:00:00", "message": "Departed FedEx location", "tag": "InTransit"},
        ],
    },
}
EASYPOST = {
    "object": "Event",
    "description": "tracker.updated",
    "result": {
        "object": "Tracker",
        "tracking_code": "9400000000000000000017",
        "status": "in_transit",
        "carrier": "USPS",
        "tracking_details": [
            {
                "object": "TrackingDetail",
                "message": "Label is there",
                "status": "pre_transit",
                "status_detail": "status_update",
                "datetime": "2026-03-01T08:00:00Z",
                "tracking_location": {"city": None, "state": None, "country": None},
            },
            {
                "object": "TrackingDetail",
                "message": "Accepted at USPS Origin Facility",
                "status": "in_transit",
                "status_detail": "received_at_origin_facility",
                "datetime": "2026-03-01T10:30:00Z",
                "tracking_location": {"city": "ONEIDA", "state": "NY", "country": "US"},
            },
        ],
    },
}
SHIPPO = {
    "event": "track_updated",
    "data": {
        "tracking_number": "9205500000000000000017",
        "carrier": "usps",
        "tracking_status": {"status": "TRANSIT", "status_date": "2026-03-01T10:30:00Z"},
        "tracking_history": [
            {
                "status": "TRANSIT",
                "substatus": {"code": "package_accepted", "text": "", "action_required": False},
                "status_date": "2026-03-01T10:30:00Z",
                "status_details": "It is with us.",
                "location": {"city": "Oneida", "state": "NY", "country": "US"},
            }
        ],
    },
}
TRACKINGMORE = {
    "code": 200,
    "message": "Success",
    "data": {
        "tracking_number": "YT2600000000000017",
        "courier_code": "yunexpress",
        "delivery_status": "transit",
        "origin_info": {
            "courier_code": "yunexpress",
            "trackinfo": [
                {
                    "checkpoint_date": "2026-03-02 20:00",
                    "checkpoint_delivery_status": "transit",
                    "checkpoint_delivery_substatus": "transit007",
                    "tracking_detail": "Airborne",
                    "location": "Shanghai,CN",
                },
                {
                    "checkpoint_date": "2026-03-01 18:30:00",
                    "checkpoint_delivery_status": "transit",
                    "checkpoint_delivery_substatus": "transit001",
                    "tracking_detail": "Shipment picked up",
                    "location": None,
                    "country_iso2": "CN",
                    "city": "Suzhou",
                },
            ],
        },
        "destination_info": {"courier_code": "", "trackinfo": None},
    },
}
KARRIO = {
    "tracking": {
        "carrier_id": "my-dhl",
        "carrier_name": "dhl_express",
        "tracking_number": "8800000017",
        "status": "in_transit",
        "events": [
            {
                "date": "2026-03-01",
                "time": "10:30 AM",
                "code": "PU",
                "description": "Shipment picked up",
                "location": "SUZHOU, CN",
            }
        ],
    },
    "messages": [],
}
EPCIS = {
    "@context": ["https://ref.gs1.org/standards/epcis/epcis-context.jsonld"],
    "type": "EPCISDocument",
    "schemaVersion": "2.0",
    "epcisBody": {
        "eventList": [
            {
                "eventID": "urn:uuid:1",
                "type": "ObjectEvent",
                "action": "OBSERVE",
                "bizStep": "accepting",
                "disposition": "in_transit",
                "epcList": ["urn:epc:id:sscc:952000.00000000017"],
                "eventTime": "2026-03-01T18:30:00.000+08:00",
                "eventTimeZoneOffset": "+08:00",
                "readPoint": {"id": "urn:epc:id:sgln:952000.000017.0"},
            }
        ]
    },
}
UPS = {
    "trackResponse": {
        "shipment": [
            {
                "inquiryNumber": "1Z0000000000000017",
                "package": [
                    {
                        "trackingNumber": "1Z0000000000000017",
                        "activity": [
                            {
                                "date": "20260301",
                                "time": "053000",
                                "gmtDate": "20260301",
                                "gmtTime": "10:30:00",
                                "status": {"type": "I", "code": "DP", "description": "Gone"},
                                "location": {"address": {"city": "Oneida", "stateProvince": "NY", "countryCode": "US"}},
                            }
                        ],
                    }
                ],
            }
        ]
    }
}
USPS = {
    "trackingNumber": "9400000000000000000017",
    "statusCategory": "In Transit",
    "trackingEvents": [
        {
            "eventType": "USPS in possession of item",
            "eventTimestamp": "2026-03-01T05:30:00",
            "GMTTimestamp": "2026-03-01T10:30:00Z",
            "GMTOffset": "-05:00",
            "eventCity": "ONEIDA",
            "eventState": "NY",
            "eventCountry": None,
            "eventCode": "03",
        }
    ],
}
SHIPSTATION = {
    "tracking_number": "1Z0000000000000017",
    "status_code": "IT",
    "status_description": "In Transit",
    "events": [
        {
            "occurred_at": "2026-03-01T10:30:00Z",
            "carrier_occurred_at": "2026-03-01T05:30:00",
            "description": "Pickup Scan",
            "status_code": "AC",
            "city_locality": "ONEIDA",
            "state_province": "NY",
        }
    ],
}
FEDEX = {
    "output": {
        "completeTrackResults": [
            {
                "trackingNumber": "880000000017",
                "trackResults": [
                    {
                        "trackingNumberInfo": {"trackingNumber": "880000000017", "carrierCode": "FDXE"},
                        "scanEvents": [
                            {
                                "date": "2026-03-01T05:30:00-05:00",
                                "eventType": "PU",
                                "eventDescription": "With us",
                                "exceptionDescription": "",
                                "derivedStatusCode": "PU",
                                "scanLocation": {"city": "ONEIDA", "stateOrProvinceCode": "NY", "countryCode": "US"},
                            }
                        ],
                    }
                ],
            }
        ]
    }
}
DHL = {
    "shipments": [
        {
            "id": "8800000017",
            "service": "express",
            "status": {"timestamp": "2026-03-01T10:30:00Z", "statusCode": "transit"},
            "events": [
                {
                    "timestamp": "2026-03-01T18:30:00+08:00",
                    "statusCode": "transit",
                    "description": "Shipment picked up",
                    "location": {"address": {"countryCode": "CN", "addressLocality": "SUZHOU - CHINA"}},
                }
            ],
        }
    ]
}
MYDHL = {
    "shipments": [
        {
            "shipmentTrackingNumber": "8800000017",
            "status": "Success",
            "events": [
                {
                    "date": "2026-03-01",
                    "time": "18:30:00",
                    "GMTOffset": "+08:00",
                    "typeCode": "PU",
                    "description": "",
                    "serviceArea": [{"code": "SHA", "description": "Suzhou-CN"}],
                }
            ],
        }
    ]
}
AUSTRALIAPOST = {
    "tracking_results": [
        {
            "tracking_id": "LX000000017AU",
            "trackable_items": [
                {
                    "consignment_id": "LX000000017AU",
                    "items": [
                        {
                            "article_id": "LX000000017AU",
                            "events": [
                                {
                                    "date": "2026-03-01T21:30:00+11:00",
                                    "description": "Received by Australia Post",
                                    "location": "ONEIDA VIC",
                                }
                            ],
                        }
                    ],
                }
            ],
        }
    ]
}
LAPOSTE = {
    "lang": "fr_FR",
    "returnCode": 200,
    "shipment": {
        "idShip": "LX000000017FR",
        "timeline": [{"id": 1, "shortLabel": "En route"}],
        "event": [{"code": "PC1", "label": "Nous avons votre envoi", "date": "2026-03-01T11:30:00+01:00"}],
    },
}
EXAMPLES: list[Any] = [
    TRACK17, TRACK17_V1, AFTERSHIP, EASYPOST, SHIPPO, TRACKINGMORE, KARRIO, EPCIS, UPS, USPS, SHIPSTATION,
    FEDEX, DHL, MYDHL, AUSTRALIAPOST, LAPOSTE,
]  # fmt: skip

_LETTERS = {status: letter for letter, status in STATUSES.items()}


def check_real(name: str, facts: dict[str, str]) -> None:
    """Real payloads have the shape of this format alone, and each tells these statuses (letters of `STATUSES`), in its order."""
    payloads = SHARED / "payloads"
    if not payloads.is_dir():
        pytest.skip("there is no folder `shared` beside the project with real payloads")
    with (payloads / "INDEX.tsv").open(encoding="utf-8", newline="") as file:
        counted = {row["file"]: int(row["scans"]) for row in csv.DictReader(file, delimiter="\t")}
    for file, letters in facts.items():
        value = (payloads / file).read_bytes()
        shapes = [each for each, adapter in FORMATS.items() if next(documents(json.loads(value), adapter), None)]
        assert shapes == [name], file
        reading = convert(value, AUTO)
        scans = [event for event in reading.events if isinstance(event, Scan)]
        assert "".join(_LETTERS[scan.status] for scan in scans) == letters, file
        assert all(scan.occurred_at.year >= 2005 for scan in scans), file
        if (
            name != "epcis" and not reading.faults and name not in {"ups", "laposte"}
        ):  # the index counts these otherwise
            assert len(scans) == counted[file], file
