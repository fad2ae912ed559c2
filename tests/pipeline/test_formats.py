import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.cli import _formats, parse
from pipeline.decode import Decoder
from pipeline.formats import Formats
from schemas.carriers import FORMATS
from schemas.frames import RECORDS
from schemas.settings import SettingsError, load

RECORDED_AT = datetime(2026, 3, 4, tzinfo=UTC)
OWN = b'{"type": "scan", "occurred_at": "2026-03-01T18:30:00+08:00", "carrier": "sf", "waybill_no": "S1", "status": "delivered"}'


def push(number: str, *traces: tuple[str, str]) -> bytes:
    data = [{"time": time, "context": text} for time, text in traces]
    return json.dumps({"status": "polling", "lastResult": {"nu": number, "com": "yuantong", "data": data}}).encode()


TWO = push("YT1", ("2026-03-01 18:30:00", "【苏州】 的 张三 已揽收"), ("2026-03-02 08:00:00", "到达 13800000000"))
EMPTY = push("YT2")
SPOILT = push("YT3", ("2026-03-01 18:30:00", "已收件"), ("昨天", "已签收"))


def records(source: str, values: Sequence[bytes | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"value": values, "source": source, "position": range(len(values)), "recorded_at": RECORDED_AT}, schema=RECORDS
    )


def decoder(declared: dict[str, str], *, files: str | None = None, guess: bool = False) -> Decoder:
    return Decoder(b"a key for tests", Formats(declared, files=files, guess=guess))


def test_a_record_tells_many_events_or_none_or_is_a_letter() -> None:
    reading = decoder({"pushes": "kuaidi100"})
    events, letters = reading.decode(records("pushes/3", [TWO, EMPTY, b"garbage", OWN, None]))[:2]
    assert events.select("carrier", "waybill_no", "status", "received_at").rows() == [
        ("yto", "YT1", "picked_up", RECORDED_AT),
        ("yto", "YT1", "arrived_at_facility", RECORDED_AT),
    ]
    assert letters.select("position", "error").rows() == [
        (2, "not valid JSON: expected value at line 1 column 1"),
        (3, "does not have the shape of kuaidi100"),
        (4, "empty message"),
    ]
    assert (reading.silent, reading.handed_over) == (1, 0)


def test_people_are_hidden_in_what_carriers_send() -> None:
    texts = decoder({"pushes": "kuaidi100"}).decode(records("pushes/0", [TWO])).events["description"]
    assert set(texts) == {"【苏州】 的 *** 已揽收", "到达 138****0000"}


def test_what_can_be_read_of_a_payload_is_judged_and_the_rest_is_a_letter() -> None:
    events, letters = decoder({"pushes": "kuaidi100"}).decode(records("pushes/0", [SPOILT]))[:2]
    assert events["status"].to_list() == ["picked_up"]
    [(error, raw)] = letters.select("error", "raw").rows()
    assert error.startswith("lastResult.data.1.time: must be a time")
    assert raw == SPOILT


def test_other_topics_hold_events_of_our_own() -> None:
    mixed = pl.concat([records("pushes/0", [TWO]), records("orders/0", [OWN, TWO])])
    reading = decoder({"pushes": "kuaidi100"})
    events, letters = reading.decode(mixed)[:2]
    assert sorted(events["waybill_no"]) == ["S1", "YT1", "YT1"]
    assert letters.select("source", "position", "error").rows() == [("orders/0", 1, "type: missing")]
    assert reading.handed_over == 1


def test_auto_takes_our_own_events_in_columns_and_payloads_by_their_shape() -> None:
    reading = decoder({"mixed": "auto"})
    events, letters = reading.decode(records("mixed/0", [OWN, TWO, EMPTY, b"{}"]))[:2]
    assert sorted(events["waybill_no"]) == ["S1", "YT1", "YT1"]
    assert letters["error"].item().startswith("has the shape of no known format")
    assert (reading.silent, reading.handed_over) == (1, 3)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("pushes/0", "kdniao"),
        ("pushes/11", "kdniao"),
        ("other/0", "canonical"),
        ("/data/k100/a.ndjson", "kuaidi100"),
        ("/data/pushes/0", "canonical"),
        ("/data/day.kd.ndjson", "kdniao"),
        ("-", "canonical"),
    ],
)
def test_a_source_is_what_it_was_declared_as(source: str, name: str) -> None:
    declared = {"pushes": "kdniao", "*/k100/*": "kuaidi100", "*.kd.ndjson": "kdniao"}
    assert Formats(declared).name(source) == name
    topic = not source.startswith(("/", "-"))
    assert Formats(declared, files="sf").name(source) == (name if topic else "sf")


def test_letters_of_undeclared_files_are_recognised_again_and_those_of_topics_are_not() -> None:
    again = decoder({}, guess=True)
    events, letters = again.decode(records("/data/a.ndjson", [TWO, b'{"type": "scam"}', b'{"a": 1}']))[:2]
    assert len(events) == 2
    assert letters["error"].to_list() == ["type: is unknown, got 'scam'", "type: missing"]
    assert len(again.decode(records("topic/0", [TWO])).letters) == 1


def test_what_was_received_too_late_is_left_out() -> None:
    reading = decoder({"pushes": "kuaidi100"})
    assert not len(reading.decode(records("pushes/0", [TWO]), datetime(2026, 3, 3, tzinfo=UTC)).events)


# Settings --------------------------------------------------------------------------------------------------------------


def message_of(**flags: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(flags)
    return str(caught.value)


def test_declared_topics_are_read_and_globs_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parcelwatch.toml").write_text('[formats]\n"k100.pushes" = "kuaidi100"\n"*.kd.ndjson" = "kdniao"\n')
    assert load().topics() == ("parcelwatch.orders", "parcelwatch.scans", "k100.pushes")
    monkeypatch.setenv("PARCELWATCH_FORMATS", '{"a": "auto"}')
    assert load().formats == {"a": "auto", "k100.pushes": "kuaidi100", "*.kd.ndjson": "kdniao"}
    monkeypatch.setenv("PARCELWATCH_FORMATS", "a=auto")
    assert message_of() == 'PARCELWATCH_FORMATS is not a JSON object such as {"my.topic": "kuaidi100"}'


def test_a_wrong_declaration_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'a' has no format 'kuaidi10': did you mean kuaidi100?" in message_of(formats={"a": "kuaidi10"})
    assert "'a b' is no topic" in message_of(formats={"a b": "auto"})
    assert "formats.a and" not in message_of(formats={"a b": "auto"})
    assert "must not be read again" in message_of(formats={"a": "auto"}, letters_topic="a")
    (tmp_path / "own.toml").write_text("[[pattern]]\nmatch = '('\nstatus = 'delivered'\n")
    with pytest.raises(SettingsError, match=r"pattern\.0\.match: is no regular expression.*carriers_dir"):
        Formats.of(load({"carriers_dir": tmp_path}))


def test_the_help_lists_every_format() -> None:
    shown = " ".join(parse(["replay", "x"]).help.split())
    assert "convert" in shown
    assert _formats() == ", ".join(sorted(FORMATS))
