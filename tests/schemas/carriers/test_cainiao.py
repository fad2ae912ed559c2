from tests.schemas.carriers.saying import places, told


def report(status: str, detail: str) -> list[dict[str, str]]:
    own = {
        "cpCode": "YTO",
        "mailNo": "YT0000000000017",
        "logisticsGmtModified": "2026-03-01 18:30:00",
        "city": "苏州市",
    }
    return [own | {"logisticsStatus": status, "lastLogisticDetail": detail}]


def test_the_latest_scan_is_told() -> None:
    assert told(report("SIGN", "Package has been signed for.")) == ["03-01 18:30:00 delivered yto YT0000000000017"]
    assert places(report("GOT", "")) == [{"city": "苏州市"}]


def test_a_corrected_weight_is_no_movement() -> None:
    assert told(report("MODIFY_WEIGHT", "")) == []
