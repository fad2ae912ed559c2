"""`explain` shows one flag in full: the comparison, the story, what excuses it, and how it came about."""

from pathlib import Path

import pytest

from tests.pipeline.commandline import at, parcelwatch, rows, tick, write

PAID = {
    "type": "order_paid",
    "occurred_at": at(0),
    "order_id": "o'1",
    "platform": "douyin",
    "merchant_id": "m",
    "amount": "9.90",
}
UPLOAD = {"type": "waybill_uploaded", "occurred_at": at(2), "order_id": "o'1", "carrier": "zto", "waybill_no": "w1"}
SCAN = {"type": "scan", "carrier": "zto", "waybill_no": "w1"}
PICKUP = SCAN | {"status": "picked_up", "occurred_at": at(27.5), "location": {"city": "苏州市", "facility": "园区网点"}}
EXTENSION = {
    "type": "exemption_granted",
    "occurred_at": at(30),
    "merchant_id": "m",
    "rules": ["no_pickup_scan"],
    "reason": "暴雪",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def explained(folder: Path, rule: str, events: list[dict[str, object]], **settings: str) -> str:
    write(folder / "events.ndjson", events)
    arguments = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    assert parcelwatch("replay", "events.ndjson", "--db", "x.duckdb", *arguments, cwd=folder).status == 0
    flag_id = rows(f"SELECT flag_id FROM flags WHERE rule = '{rule}'", folder / "x.duckdb")[0]["flag_id"]
    done = parcelwatch("explain", flag_id[:8], "--db", "x.duckdb", cwd=folder)
    assert done.status == 0, done.complaint
    return done.out


def lines_of(text: str, title: str) -> list[str]:
    """The lines of one section."""
    section = text.split(f"\n{title}", 1)[1].split("\n\n", 1)[0]
    return [" ".join(line.split()) for line in section.splitlines()[1:]]


def test_a_missed_deadline_is_shown_as_a_sum_in_the_platforms_time(folder: Path) -> None:
    told = explained(folder, "no_pickup_scan", [PAID, UPLOAD, PICKUP, tick(60)])
    assert told.startswith("no_pickup_scan: no pickup scan in time after the upload\n")
    assert "clause               Douyin 4.1.2\n" in told
    assert lines_of(told, "What was compared (times in Asia/Shanghai)") == [
        "uploaded_at 2025-03-01 02:00:00+08:00",
        "+ limit 24 h",
        "= deadline 2025-03-02 02:00:00+08:00",
        "picked_up_at 2025-03-02 03:30:00+08:00 1 h 30 min after the deadline",
    ]
    assert lines_of(told, "What happened") == [
        "2025-03-01 00:00:00+08:00 order_paid douyin, 9.90 CNY",
        "2025-03-01 02:00:00+08:00 waybill_uploaded zto w1",
        "2025-03-02 02:00:00+08:00 ---- the deadline ----",
        "2025-03-02 03:30:00+08:00 picked_up 苏州市 园区网点",
    ]
    assert "What excuses it" not in told


def test_what_has_not_happened_is_said_to_be_so_by_the_clock(folder: Path) -> None:
    told = explained(folder, "no_pickup_scan", [PAID, UPLOAD, tick(60)])
    late = "picked_up_at has not happened by 2025-03-03 12:00:00+08:00, 1 d 10 h after the deadline"
    assert lines_of(told, "What was compared")[-1] == late


def test_an_extension_shows_both_deadlines_and_who_granted_it_for_whom(folder: Path) -> None:
    extension = EXTENSION | {"extended_to": at(27), "applies_until": at(26)}
    told = explained(folder, "no_pickup_scan", [PAID, UPLOAD, PICKUP, extension, tick(60)])
    assert lines_of(told, "What was compared")[1:5] == [
        "+ limit 24 h",
        "= deadline at first 2025-03-02 02:00:00+08:00",
        "extended to 2025-03-02 03:00:00+08:00",
        "= deadline 2025-03-02 03:00:00+08:00",
    ]
    assert lines_of(told, "What excuses it") == [
        "2025-03-02 06:00:00+08:00 deadlines moved to 2025-03-02 03:00:00+08:00"
        " until 2025-03-02 02:00:00+08:00 暴雪 (of merchant m)"
    ]


def test_a_late_approval_exempts_and_the_history_says_so(folder: Path) -> None:
    told = explained(folder, "no_pickup_scan", [PAID, UPLOAD, PICKUP, tick(28), EXTENSION])
    assert "status               exempt: an exemption was granted\n" in told
    assert [line.split(" ", 2)[2] for line in lines_of(told, "How the flag came about")] == [
        "exempted: an exemption was granted"
    ]


def test_a_case_and_a_warning_are_explained_too(folder: Path) -> None:
    opened = {
        "type": "aftersale_opened",
        "occurred_at": at(30),
        "order_id": "o'1",
        "aftersale_id": "c",
        "kind": "resend",
    }
    told = explained(folder, "resend_answer_overdue", [PAID, opened, tick(60)], warn_hours="24")
    assert "status               at_risk\n" in told
    assert "case                 c\n" in told
    assert "deadline             2025-03-04 06:00:00+08:00\n" in told
    assert lines_of(told, "What happened")[1] == "2025-03-02 06:00:00+08:00 aftersale_opened case c resend"


def test_a_rule_without_a_deadline_shows_what_it_compared(folder: Path) -> None:
    told = explained(folder, "pickup_before_payment", [PAID, UPLOAD, PICKUP | {"occurred_at": at(-1)}])
    assert lines_of(told, "What was compared") == [
        "paid_at 2025-03-01 00:00:00+08:00",
        "picked_up_at 2025-02-28 23:00:00+08:00",
    ]
    assert "---- the violation ----" in told


def test_what_is_no_flag_is_refused(folder: Path) -> None:
    write(folder / "events.ndjson", [PAID])
    assert parcelwatch("replay", "events.ndjson", "--db", "x.duckdb", cwd=folder).status == 0
    unknown = parcelwatch("explain", "abcdef12", "--db", "x.duckdb", cwd=folder)
    assert (unknown.status, unknown.complaint) == (
        1,
        'parcelwatch: abcdef12: no flag begins so; all of them: parcelwatch query "FROM flags"\n',
    )
    wrong = parcelwatch("explain", "' OR 1", "--db", "x.duckdb", cwd=folder)
    assert wrong.status == 2
    assert "is no flag id" in wrong.complaint
