"""What carriers send, from files and from Kafka, to flags."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from tests.broker import Broker
from tests.pipeline.commandline import Event, in_a_process, ndjson, open_flags, parcelwatch, rows

PAID = "2025-03-01T00:00:00+08:00"


def order(number: int, carrier: str) -> list[Event]:
    """Paid at midnight, uploaded at one."""
    own = {"order_id": f"o{number}"}
    paid = {"type": "order_paid", "occurred_at": PAID, "platform": "wechat_channels", "merchant_id": "m", **own}
    up = {
        "type": "waybill_uploaded",
        "occurred_at": "2025-03-01T01:00:00+08:00",
        "carrier": carrier,
        "waybill_no": f"W{number}",
        **own,
    }
    return [paid, up]


def kuaidi100(number: int, *traces: tuple[str, str], **more: object) -> dict[str, Any]:
    data = [{"time": time, "ftime": time, "context": text} for time, text in reversed(traces)]
    return {
        "status": "polling",
        "message": "",
        "lastResult": {"nu": f"W{number}", "com": "yuantong", "state": "0", "data": data},
    } | more


def kdniao(number: int, *traces: tuple[str, str]) -> dict[str, Any]:
    told = [{"AcceptTime": time, "AcceptStation": text} for time, text in traces]
    history = {"ShipperCode": "YD", "LogisticCode": f"W{number}", "Success": True, "State": "2", "Traces": told}
    return {"PushTime": "2025-03-09 00:00:00", "EBusinessID": "1", "Count": "1", "Data": [history]}


PICKED_UP = ("2025-03-01 18:00:00", "【苏州园区公司】 已揽收 取件人: 张三 (13800000000)")
MOVED = ("2025-03-02 08:00:00", "快件到达 【苏州转运中心】")
SIGNED = ("2025-03-03 16:00:00", "已签收，签收人：本人")
LATE = ("2025-03-04 08:00:00", "【苏州园区公司】 已收件")
EARLY = ("2025-02-28 18:00:00", "到达：江苏苏州公司 已揽件")
SILENT = ("2025-03-09 00:00:00", "快件已超过5天没有更新物流信息")

PUSHES = [
    kuaidi100(1, PICKED_UP, MOVED, SIGNED),  # in order
    kuaidi100(2, LATE),  # picked up two days late
    kuaidi100(3, ("2025-03-01 10:00:00", "商家已发货，等待揽收")),  # never picked up
    kuaidi100(4, PICKED_UP, SILENT),  # stalled: an alert is no movement
    kuaidi100(5),  # nothing yet
    kuaidi100(
        6, PICKED_UP, MOVED, comOld="shentong", comNew="yuantong", autoCheck="1"
    ),  # uploaded under the wrong carrier
]
ANSWERS = [
    kdniao(7, EARLY, ("2025-03-01 08:00:00", "已到达-江苏苏州转运中心")),  # picked up before payment
    kdniao(8, PICKED_UP, ("2025-03-01 20:00:00", "已签收,签收人是: 转EMS1130000000017")),
]


def scan(at: str, carrier: str, number: str, status: str) -> Event:
    return {
        "type": "scan",
        "occurred_at": f"2025-03-{at}:00:00+08:00",
        "carrier": carrier,
        "waybill_no": number,
        "status": status,
    }


ORDERS = [
    *(event for number in range(1, 6) for event in order(number, "yto")),
    *order(6, "sto"),
    *order(7, "yunda"),
    *order(8, "yunda"),
    scan("01T21", "ems", "1130000000017", "picked_up"),
    scan("02T08", "ems", "1130000000017", "delivered"),
    scan("10T00", "sf", "tick", "in_transit"),
]
FLAGS = {
    ("no_pickup_scan", "o2"),
    ("no_pickup_scan", "o3"),
    ("stalled_after_pickup", "o2"),
    ("stalled_after_pickup", "o4"),
    ("no_pickup_scan", "o5"),
    ("pickup_before_payment", "o7"),
}


def shipment_flags(db: Path) -> set[tuple[str, str]]:
    return {flag for flag in open_flags(db) if flag[0] in {rule for rule, _ in FLAGS}}


def lines(path: Path, payloads: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(payload, ensure_ascii=False) + "\n" for payload in payloads), "utf-8")
    return path


def replay(folder: Path, *arguments: str | Path) -> str:
    done = parcelwatch("replay", *arguments, "--db", folder / "d.duckdb", cwd=folder)
    assert done.status == 0, done.complaint
    return done.out


def test_pushes_are_judged_and_repeated_pushes_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "parcelwatch.toml").write_text('[formats]\n"*.kdniao.ndjson" = "kdniao"\n"*/k100/*" = "kuaidi100"\n')
    (tmp_path / "k100").mkdir()
    (tmp_path / "own.ndjson").write_bytes(ndjson(ORDERS))
    out = replay(
        tmp_path, lines(tmp_path / "k100/a.ndjson", PUSHES), lines(tmp_path / "a.kdniao.ndjson", ANSWERS), "own.ndjson"
    )
    assert "dead letters: 0" in out
    assert "payloads without any scan: 1" in out
    db = tmp_path / "d.duckdb"
    assert shipment_flags(db) == FLAGS
    before = rows("SELECT (SELECT count(*) FROM scans) s, (SELECT count(*) FROM flag_history) f FROM parcelwatch", db)

    assert "0 new" in replay(
        tmp_path, lines(tmp_path / "k100/b.ndjson", reversed(PUSHES)), lines(tmp_path / "b.kdniao.ndjson", ANSWERS)
    )
    assert (
        rows("SELECT (SELECT count(*) FROM scans) s, (SELECT count(*) FROM flag_history) f FROM parcelwatch", db)
        == before
    )

    late_news = kuaidi100(3, ("2025-03-01 10:00:00", "商家已发货，等待揽收"), PICKED_UP, MOVED)
    replay(tmp_path, lines(tmp_path / "k100/c.ndjson", [late_news]))
    assert shipment_flags(db) == FLAGS - {("no_pickup_scan", "o3")}
    assert (
        rows("SELECT description FROM scans WHERE description LIKE '%张三%' OR description LIKE '%13800000000%'", db)
        == []
    )


def test_a_letter_of_a_file_that_only_the_command_line_declared_is_redriven(tmp_path: Path) -> None:
    spoilt = kuaidi100(1, PICKED_UP, ("昨天", "已签收"))
    out = replay(tmp_path, lines(tmp_path / "a.ndjson", [*order(1, "yto"), spoilt]), "--format", "auto")
    assert "dead letters: 1" in out
    db = tmp_path / "d.duckdb"
    [letter] = rows("SELECT error FROM dead_letters", db)
    assert letter["error"].startswith("lastResult.data.0.time: must be a time")
    done = parcelwatch("redrive", "--db", db, cwd=tmp_path)
    assert "1 dead letters tried: 1 are events now, 1 are dead still" in done.out, done
    assert rows("SELECT status FROM scans", db) == [{"status": "picked_up"}]


def test_texts_that_no_table_knows_are_reported(tmp_path: Path) -> None:
    strange = [
        kuaidi100(number, (f"2025-03-01 10:00:0{number}", f"【苏州{number}】 已装笼 {number}号 "))
        for number in (1, 2, 3)
    ]
    replay(tmp_path, lines(tmp_path / "a.ndjson", [*strange, PUSHES[0]]), "--format", "kuaidi100")
    report = ("report", "--db", "d.duckdb", "--unmapped")
    told = json.loads(parcelwatch(*report, "--format", "json", cwd=tmp_path).out)["unmapped"]
    assert told == [{"text": "【…】 已装笼 0号 ", "scans": 3, "carrier": "yto"}]
    out = parcelwatch(*report, cwd=tmp_path).out
    assert "已装笼" in out
    assert "--carriers-dir" in out
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/own.toml").write_text("[[pattern]]\nmatch = '装笼'\nstatus = 'in_transit'\n", "utf-8")
    assert "the tables know" in parcelwatch(*report, "--carriers-dir", "tables", cwd=tmp_path).out
    (tmp_path / "tables/own.toml").write_text("[[pattern]]\nmatch = '装笼'\nstatus = 'caged'\n", "utf-8")
    done = parcelwatch(*report, "--carriers-dir", "tables", cwd=tmp_path)
    assert done.status == 2
    assert "own.toml: pattern.0.status: no such status" in done.complaint


# convert ---------------------------------------------------------------------------------------------------------------


def test_convert_shows_the_events_and_complains_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(PUSHES[0], indent=1), "utf-8")
    done = parcelwatch("convert", "one.json", "--from", "kuaidi100", cwd=tmp_path)
    assert (done.status, done.complaint) == (0, "")
    told = [json.loads(line) for line in done.out.splitlines()]
    assert [event["status"] for event in told] == ["delivered", "arrived_at_facility", "picked_up"]
    assert told[-1] == {
        "type": "scan", "occurred_at": "2025-03-01T10:00:00+00:00", "carrier": "yto", "waybill_no": "W1", "status": "picked_up",
        "description": "【苏州园区公司】 已揽收 取件人: *** (138****0000)",
    }  # fmt: skip

    (tmp_path / "list.json").write_text(json.dumps([PUSHES[0], {"a": 1}, PUSHES[4]], indent=1), "utf-8")
    done = parcelwatch("convert", "list.json", cwd=tmp_path)
    assert done.status == 1
    assert len(done.out.splitlines()) == 3
    complaint, summary = done.complaint.splitlines()
    assert complaint.startswith(f"{tmp_path}/list.json:1: has the shape of no known format")
    assert summary == "parcelwatch: of 3 payloads 1 cannot be read in full, 1 tell nothing"

    lines(tmp_path / "a.ndjson", [*ANSWERS, kuaidi100(1, ("昨天", "已签收"))])
    done = parcelwatch("convert", tmp_path, cwd=tmp_path)
    assert done.status == 1
    assert f"{tmp_path}/a.ndjson:3: lastResult.data.0.time: must be a time" in done.complaint


def test_what_convert_shows_can_be_replayed(tmp_path: Path) -> None:
    lines(tmp_path / "a.ndjson", PUSHES)
    shown = parcelwatch("convert", "a.ndjson", cwd=tmp_path).out.encode()
    done = in_a_process("replay", "-", "--db", "d.duckdb", cwd=tmp_path, stdin=shown)
    assert "dead letters: 0" in done.out
    assert "0 new" in replay(tmp_path, "a.ndjson", "--format", "kuaidi100")


def test_an_unknown_format_is_wrong_usage(tmp_path: Path) -> None:
    done = parcelwatch("convert", "x.json", "--from", "kuaidi10", cwd=tmp_path)
    assert done.status == 2
    assert "'kuaidi10' is no format; they are canonical, auto" in done.complaint


# Kafka -----------------------------------------------------------------------------------------------------------------


@pytest.mark.kafka
def test_a_topic_of_pushes_is_read_beside_our_own(kafka: Broker, new_topic: Callable[..., str], tmp_path: Path) -> None:
    orders, scans, pushes, answers = (new_topic() for _ in range(4))
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    for topic, messages in ((orders, ORDERS), (pushes, [*PUSHES, *PUSHES]), (answers, ANSWERS)):
        for message in messages:
            producer.send(topic, json.dumps(message).encode())
    producer.flush()
    producer.close()
    (tmp_path / "parcelwatch.toml").write_text(f'[formats]\n"{pushes}" = "kuaidi100"\n"{answers}" = "auto"\n')
    own = ["--orders-topic", orders, "--scans-topic", scans, "--bootstrap-servers", kafka.bootstrap, "--http-port", "0"]
    done = in_a_process("run", "--until-caught-up", "--db", "d.duckdb", *own, cwd=tmp_path)
    assert done.status == 0, done.complaint
    assert "0 dead letters" in done.complaint
    assert shipment_flags(tmp_path / "d.duckdb") == FLAGS
