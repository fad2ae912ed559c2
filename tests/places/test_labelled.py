"""Measured on labelled addresses and trajectory texts, where a folder `shared` with them lies beside the project."""

import csv
from pathlib import Path

import pytest

from places.divisions import WHOLE
from places.reading import Found
from tests.places.reading import addresses, found_in, locations

DATA = Path(__file__).parents[3] / "shared" / "data" / "address"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no labelled addresses in {DATA}")

DROPS = {"签收", "派件", "代收"}
"""What the last status of a pair says: only where a parcel is delivered is judged."""


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize(
    ("name", "column", "scanned"), [("addresses", "address", False), ("trajectories", "text", True)]
)
def test_cities_and_districts_are_found(name: str, column: str, scanned: bool) -> None:
    labelled = rows(f"{name}.tsv")
    answers = list(zip(labelled, found_in([row[column] for row in labelled], scanned=scanned), strict=True))
    right = sum(right_city(row, found) for row, found in answers)
    wrong = [row[column] for row, found in answers if found.city and not right_city(row, found)]
    district = sum(right_district(row, found) for row, found in answers)
    assert right >= 0.99 * len(labelled)
    assert len(wrong) <= 0.005 * len(labelled), wrong
    assert district >= 0.97 * len(labelled)


def right_city(row: dict[str, str], found: Found) -> bool:
    wanted = [row["prov"]] if row["prov"] in WHOLE else row["city"].split("|")
    return (found.city or "") in wanted or (row["note"] == "amb" and found.city is None)


def right_district(row: dict[str, str], found: Found) -> bool:
    wanted = row["district"].split("|")
    if row["note"] == "amb" and found.city is None:
        return True
    several = len(found.codes) > 1 and set(found.codes) == set(wanted)
    return several or (found.county or "") in wanted


@pytest.mark.parametrize("field", ["place_text", "description"])
def test_no_pair_is_a_false_alarm_and_every_mismatch_is_found(field: str) -> None:
    pairs = rows("pairs.tsv")
    wanted = addresses(*({"place_text": row["order_address"]} for row in pairs))
    there = locations(*({field: row["trajectory_end_text"]} for row in pairs))
    verdicts = {}
    for row, one, other in zip(pairs, wanted, there, strict=True):
        known = one["cities"] is not None and other["cities"] is not None
        alarm = known and set(one["cities"]).isdisjoint(other["cities"])
        verdicts[row["id"]] = (row["expected"], alarm and row["last_status"] in DROPS)
    assert [number for number, (expected, alarm) in verdicts.items() if alarm and expected != "mismatch"] == []
    assert [number for number, (expected, alarm) in verdicts.items() if not alarm and expected == "mismatch"] == []
