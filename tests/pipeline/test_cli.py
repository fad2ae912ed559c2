import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from detectors import RULES
from pipeline.output import print_table
from pipeline.store import Commit, Store
from schemas.frames import FLAG_LOG, LETTERS
from tests.pipeline.commandline import (
    at,
    await_that,
    environment,
    in_a_process,
    ndjson,
    open_flags,
    parcel,
    parcelwatch,
    rows,
    start,
    tick,
    write,
)

COMMANDS = ("run", "replay", "simulate", "query", "report", "rules", "redrive", "schema")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two orders, one flag and one dead letter; read it only."""
    folder = tmp_path_factory.mktemp("judged")
    path = write(folder / "a.ndjson", [*parcel(1), *parcel(2, picked_up=False), tick(40)])
    path.write_bytes(path.read_bytes() + b'{"type": "\x1b[31m"}\n')
    done = parcelwatch("replay", path, "--db", "d.duckdb", cwd=folder)
    assert done.status == 0, done.complaint
    return folder / "d.duckdb"


def complaint_of(*arguments: str | Path, cwd: Path, status: int, **settings: str) -> str:
    """Run a command that must fail with `status`, one line that names the program, and no output."""
    done = parcelwatch(*arguments, cwd=cwd, **settings)
    assert (done.status, done.out) == (status, ""), done
    assert done.complaint.startswith("parcelwatch: ")
    assert done.complaint.count("\n") == 1
    assert done.complaint.endswith("\n")
    return done.complaint


# -------------------------------------------------------------------------------------------------------------------- usage


def test_without_a_command_the_help_is_shown_as_wrong_usage(tmp_path: Path) -> None:
    done = parcelwatch(cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    assert all(command in done.complaint for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_says_what_it_does_with_an_example(command: str, tmp_path: Path) -> None:
    done = parcelwatch(command, "--help", cwd=tmp_path)
    assert (done.status, done.complaint) == (0, "")
    assert f"usage: parcelwatch {command}" in done.out
    assert f"\nexample:\n  parcelwatch {command}" in done.out
    assert ("(default: parcelwatch.duckdb)" in " ".join(done.out.split())) == ("--db FILE" in done.out)


def test_the_version_is_shown(tmp_path: Path) -> None:
    done = parcelwatch("--version", cwd=tmp_path)
    assert done.status == 0
    assert done.out.startswith("parcelwatch ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["reply"], "invalid choice: 'reply'"),
        (["replay"], "see `parcelwatch replay --help`"),
        (["replay", "a.ndjson", "--as-of", "2026-03-01T00:00:00"], "no time with an offset"),
        (["replay", "a.ndjson", "--as-of", "yesterday"], "no time with an offset"),
        (["replay", "a.ndjson", "--bogus"], "--bogus"),
        (["replay", "a.ndjson", "--batch-records-max", "0"], "--batch-records-max"),
        (["query", "SELECT 1", "--format", "xml"], "invalid choice: 'xml'"),
        (["query", "SELECT 1", "--rows", "-1"], "--rows"),
        (["query", "SELECT 1", "--format", "parquet"], "needs --out"),
        (["query", "SELECT 1", "--timezone", "Mars"], "no time zone"),
        (["simulate", "--orders", "0", "--out", "x.ndjson"], "--orders"),
        (["rules", "no_pickup_scam"], "did you mean no_pickup_scan?"),
        (["run", "--config", "nowhere.toml"], "nowhere.toml does not exist"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    assert says in complaint_of(*arguments, cwd=tmp_path, status=2)


def test_wrong_configuration_is_one_line_and_status_2(tmp_path: Path) -> None:
    assert "did you mean PARCELWATCH_DB?" in complaint_of("schema", cwd=tmp_path, status=2, PARCELWATCH_BD="x")
    (tmp_path / "parcelwatch.toml").write_text("http_prot = 1")
    assert "did you mean http_port?" in complaint_of("schema", cwd=tmp_path, status=2)


def test_a_wrong_profile_is_refused_by_its_key(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('platform = "mine"\n[rules.late_shipment]\nlimit_hour = 3')
    write(tmp_path / "a.ndjson", parcel(1))
    for command in (["rules"], ["replay", "a.ndjson", "--db", "d.duckdb"], ["redrive", "--db", "d.duckdb"]):
        complaint = complaint_of(*command, "--profiles-dir", ".", cwd=tmp_path, status=2)
        assert "mine.toml" in complaint
        assert "rules.late_shipment.limit_hour" in complaint
    assert not (tmp_path / "d.duckdb").exists()


# ------------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("command", [["query", "FROM flags"], ["report"]])
def test_reading_a_database_that_is_not_there_says_so_and_makes_none(command: list[str], tmp_path: Path) -> None:
    assert "nowhere.duckdb" in complaint_of(*command, "--db", "nowhere.duckdb", cwd=tmp_path, status=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["query", "FROM flags"], ["report"], ["redrive"], ["replay", "a.ndjson"]])
def test_a_file_that_is_no_database_is_refused_and_left_alone(command: list[str], tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", parcel(1))
    (tmp_path / "text.duckdb").write_text("hello " * 1000)
    assert "text.duckdb" in complaint_of(*command, "--db", "text.duckdb", cwd=tmp_path, status=1)
    assert (tmp_path / "text.duckdb").read_text() == "hello " * 1000


def test_a_database_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", parcel(1))
    assert "nowhere" in complaint_of("replay", "a.ndjson", "--db", "nowhere/d.duckdb", cwd=tmp_path, status=1)


def test_a_database_that_another_process_writes_is_refused_to_writers_and_read_from_its_copy(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", [*parcel(2, picked_up=False), tick(40)])
    assert parcelwatch("replay", "a.ndjson", "--db", "d.duckdb", cwd=tmp_path).status == 0
    with Store(tmp_path / "d.duckdb"):
        for command in (["redrive"], ["replay", "a.ndjson"]):
            done = in_a_process(*command, "--db", "d.duckdb", cwd=tmp_path)
            assert (done.status, done.out, done.complaint.count("\n")) == (1, "", 1)
            assert str(os.getpid()) in done.complaint
        report = in_a_process("report", "--db", "d.duckdb", cwd=tmp_path)
        assert report.status == 0, report.complaint
        assert "no_pickup_scan" in report.out


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELEC 1", "syntax error"),
        ("FROM flogs", "flogs"),
        ("DELETE FROM flag_log", "only SELECT"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT * FROM read_text('/etc/hostname')", "not allowed"),
        ("", "one statement"),
    ],
)
def test_sql_that_is_wrong_or_not_allowed_is_refused_in_one_line(sql: str, says: str, judged: Path) -> None:
    assert says in complaint_of("query", sql, "--db", judged, cwd=judged.parent, status=1)


def test_an_error_shows_its_traceback_only_when_asked_to(tmp_path: Path) -> None:
    done = parcelwatch("report", "--db", "nowhere.duckdb", cwd=tmp_path, PARCELWATCH_DEBUG="1")
    assert done.status == 1
    assert "Traceback" in done.complaint
    assert done.complaint.splitlines()[-1].startswith("parcelwatch: ")


def test_an_output_file_that_cannot_be_written_is_named(judged: Path) -> None:
    complaint = complaint_of("query", "SELECT 1", "--db", judged, "--out", "no/where.csv", cwd=judged.parent, status=1)
    assert "no/where.csv: No such file or directory" in complaint


def test_a_reader_that_has_had_enough_is_no_error(judged: Path) -> None:
    with start("query", "FROM range(1000000)", "--db", judged, "--format", "csv", cwd=judged.parent) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "range\n"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 141


# ------------------------------------------------------------------------------------------------------------- query, report


def test_a_query_answers_in_every_format(judged: Path) -> None:
    def answer(*arguments: str) -> str:
        sql = "SELECT merchant_id, violated_at, NULL AS nothing FROM flags"
        done = parcelwatch("query", sql, "--db", judged, *arguments, cwd=judged.parent)
        assert (done.status, done.complaint) == (0, "")
        return done.out

    assert list(csv.DictReader(io.StringIO(answer("--format", "csv")))) == [
        {"merchant_id": "商家2", "violated_at": "2025-03-02 01:00:00+08:00", "nothing": ""}
    ]
    row = {"merchant_id": "商家2", "violated_at": at(25), "nothing": None}
    assert json.loads(answer("--format", "json")) == [row]
    assert json.loads(answer("--format", "ndjson")) == row
    assert "│ 商家2       │ 2025-03-02 01:00:00+08:00 │ NULL    │" in answer()
    assert answer("--out", "flags.jsonl") == ""
    assert json.loads((judged.parent / "flags.jsonl").read_text()) == row
    assert answer("--out", "flags.parquet") == ""
    frame = pl.read_parquet(judged.parent / "flags.parquet")
    assert frame["violated_at"].to_list() == [datetime.fromisoformat(at(25))]
    assert "2025-03-01 17:00:00+00:00" in answer("--timezone", "UTC")


def test_no_rows_are_no_rows_in_every_format(judged: Path) -> None:
    outputs = {
        kind: parcelwatch("query", "FROM flags WHERE false", "--db", judged, "--format", kind, cwd=judged.parent).out
        for kind in ("csv", "json", "ndjson")
    }
    assert outputs["csv"].startswith("flag_id,rule,")
    assert outputs["csv"].count("\n") == 1
    assert json.loads(outputs["json"]) == []
    assert outputs["ndjson"] == ""


def test_a_long_table_shows_its_beginning_and_says_so(judged: Path) -> None:
    done = parcelwatch("query", "FROM range(1000)", "--db", judged, "--rows", "5", cwd=judged.parent)
    assert "the first 5 of 1,000 rows" in done.complaint
    assert done.out.count("│\n") == 6
    whole = parcelwatch("query", "FROM range(1000)", "--db", judged, "--rows", "0", cwd=judged.parent)
    assert (whole.complaint, whole.out.count("│\n")) == ("", 1001)


def test_sql_may_come_from_standard_input(judged: Path) -> None:
    sql = b"-- a comment\nSELECT count(*) AS n FROM orders;\n"
    done = in_a_process("query", "-", "--db", judged, "--format", "csv", cwd=judged.parent, stdin=sql)
    assert done.out == "n\n2\n", done.complaint


def test_bytes_of_a_dead_letter_cannot_command_the_terminal(judged: Path) -> None:
    done = parcelwatch("query", "FROM dead_letters", "--db", judged, cwd=judged.parent)
    assert r"\x1b[31m" in done.out
    assert "\x1b" not in done.out


def test_a_table_too_wide_for_the_terminal_is_shown_row_by_row_with_nothing_cut() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    wide = "这是一个很长的地址" * 10
    print_table(pl.DataFrame({"address": [wide], "order_id": ["o1"]}), stream)
    assert f" address  {wide}\n" in stream.getvalue()
    assert "order_id  o1\n" in stream.getvalue()


def test_the_report_counts_by_rule_platform_merchant_and_day(judged: Path) -> None:
    done = parcelwatch("report", "--db", judged, "--format", "json", cwd=judged.parent)
    report = json.loads(done.out)
    counts = {"open": 1, "exempt": 0, "cleared": 0, "at_risk": 0}
    (state,) = report["state"]
    assert (state["orders"], state["shipments"], state["scans"], state["open_flags"]) == (2, 2, 4, 1)
    assert report["rules"] == [{"rule": "no_pickup_scan", **counts, "merchants": 1, "latest_violation": at(25)}]
    assert report["platforms"] == [{"platform": "wechat_channels", **counts, "flagged_orders": 1}]
    (merchant,) = report["merchants"]
    assert (merchant["merchant_id"], merchant["orders"], merchant["percent"]) == ("商家2", 1, 100.0)
    assert report["days"] == [{"day": "2025-03-02", **counts}]
    assert [letters["letters"] for letters in report["dead_letters"]] == [1]
    text = parcelwatch("report", "--db", judged, cwd=judged.parent).out
    assert all(word in text for word in ("Flags by rule", "no_pickup_scan", "商家2", "2025-03-02", "redrive"))


def test_the_report_of_an_empty_database_says_that_nothing_is_flagged(tmp_path: Path) -> None:
    (tmp_path / "empty.ndjson").touch()
    assert parcelwatch("replay", "empty.ndjson", "--db", "d.duckdb", cwd=tmp_path).status == 0
    done = parcelwatch("report", "--db", "d.duckdb", cwd=tmp_path)
    assert done.status == 0
    assert "nothing is flagged" in done.out


# ----------------------------------------------------------------------------------------------------------------- simulate


def test_a_simulated_stream_is_flagged_exactly_as_its_labels_say(tmp_path: Path) -> None:
    simulated = parcelwatch("simulate", "--orders", "400", "--seed", "3", "--out", "demo.ndjson.gz", cwd=tmp_path)
    assert (simulated.status, simulated.complaint) == (0, "")
    assert "next: parcelwatch replay demo.ndjson.gz" in simulated.out
    assert parcelwatch("replay", "demo.ndjson.gz", "--db", "d.duckdb", cwd=tmp_path).status == 0
    keys = ("rule", "order_id", "carrier", "waybill_no", "status")
    labels = [json.loads(line) for line in (tmp_path / "demo.ndjson.gz.labels.ndjson").read_text().splitlines()]
    flags = rows("FROM flags WHERE status <> 'cleared'", tmp_path / "d.duckdb")
    assert {tuple(flag[key] for key in keys) for flag in flags} == {
        tuple(label[key] for key in keys) for label in labels
    }
    assert len(flags) == len(labels) > 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--out FILE or --bootstrap-servers"),
        (["--out", "x.ndjson", "--bootstrap-servers", "localhost:9092"], "either"),
        (["--out", "x.ndjson", "--rate", "5"], "for Kafka"),
    ],
)
def test_simulate_must_be_told_one_place_to_write_to(arguments: list[str], says: str, tmp_path: Path) -> None:
    assert says in complaint_of("simulate", *arguments, cwd=tmp_path, status=2)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ rules, schema, dead letters


def test_rules_lists_every_rule_with_its_limit_on_every_platform(tmp_path: Path) -> None:
    done = parcelwatch("rules", cwd=tmp_path)
    assert all(rule in done.out for rule in RULES)
    (line,) = [line for line in done.out.splitlines() if "pickup_overdue" in line]
    assert [cell.strip() for cell in line.split("│")[3:6]] == ["off", "72 h", "off"]


CHANGING = """
platform = "mine"
[rules.late_shipment]
limit_hours = 48
clause = "1"
compensation_percent = 2.5
[shipping_categories.presale]
hours = 120
hours_max = 240
[[versions]]
effective_from = 2026-06-01T00:00:00+08:00
[versions.rules.late_shipment]
limit_hours = 36
[[promotions]]
name = "sale"
paid_from = 2026-05-01T00:00:00+08:00
paid_until = 2026-07-01T00:00:00+08:00
[promotions.rules.late_shipment]
limit_hours = 96
"""


@pytest.mark.parametrize("rule", sorted(RULES))
def test_rules_shows_one_rule_in_full(rule: str, tmp_path: Path) -> None:
    done = parcelwatch("rules", rule, cwd=tmp_path)
    assert done.status == 0
    assert "Source:" in done.out
    assert "wechat_channels" in done.out


def test_rules_knows_the_platforms_that_a_user_adds(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'platform = "mine"\n[rules.late_shipment]\nlimit_hours = 7.5\nclause = "my § 3"'
    )
    done = parcelwatch("rules", "late_shipment", "--profiles-dir", ".", cwd=tmp_path)
    (line,) = [line for line in done.out.splitlines() if "mine" in line]
    assert "7.5 h" in line
    assert "my § 3" in line


def test_rules_shows_categories_versions_promotions_and_compensations(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(CHANGING)
    told = parcelwatch("rules", "late_shipment", "--profiles-dir", ".", cwd=tmp_path).out
    for line in (
        "│ mine │ │ 48 h │ medium │ 2.5 % │ 1 │",
        "│ │ category presale │ 120 h, at most 240 h │ │ │ │",
        "│ │ from 2026-06-01T00:00:00+08:00 │ 36 h │ medium │ 2.5 % │ 1 │",
        "│ │ sale: paid 2026-05-01T00:00:00+08:00 to 2026-07-01T00:00:00+08:00 │ 96 h │ medium │ 2.5 % │ 1 │",
    ):
        assert line in re.sub(" +", " ", told)


def test_rules_check_says_that_a_profile_is_right_or_all_that_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(CHANGING)
    done = parcelwatch("rules", "--check", "mine.toml", cwd=tmp_path)
    assert done == (
        0,
        "mine.toml: a valid profile of 'mine': 8 of 16 rules are on, 1 later version, 1 promotion, 1 shipping category\n",
        "",
    )
    (tmp_path / "mine.toml").write_text(CHANGING.replace("= 48", '= "two days"').replace("hours_max", "hour_max"))
    done = parcelwatch("rules", "--check", "mine.toml", cwd=tmp_path)
    assert done.status == 1
    assert done.complaint.splitlines() == [
        "parcelwatch: mine.toml: rules.late_shipment.limit_hours: must be a number, got 'two days'",
        "parcelwatch: mine.toml: shipping_categories.presale.hour_max: unknown key; did you mean hours_max?",
    ]
    assert "nowhere.toml" in complaint_of("rules", "--check", "nowhere.toml", cwd=tmp_path, status=1)
    assert "either" in complaint_of("rules", "late_shipment", "--check", "mine.toml", cwd=tmp_path, status=2)


def test_the_schema_describes_every_type_of_event(tmp_path: Path) -> None:
    schema = json.loads(parcelwatch("schema", cwd=tmp_path).out)
    text = json.dumps(schema)
    assert all(f'"{kind}"' in text for kind in ("order_paid", "waybill_uploaded", "scan", "waybill_replaced"))


def test_redrive_makes_events_of_letters_that_are_valid_now_and_keeps_the_others(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", [tick(40)])
    db = tmp_path / "d.duckdb"
    assert parcelwatch("replay", "a.ndjson", "--db", db, cwd=tmp_path).status == 0
    lines = [*ndjson(parcel(2, picked_up=False)).splitlines(), b"garbage", b""]
    letters = pl.DataFrame(
        {
            "source": ["parcelwatch.orders/0"] * len(lines),
            "position": range(len(lines)),
            "raw": lines,
            "recorded_at": [datetime(2025, 3, 1, tzinfo=UTC)] * len(lines),
            "error": ["a fault of an older version"] * len(lines),
        },
        schema=LETTERS,
    )
    with Store(db) as store:
        store.commit(Commit({}, FLAG_LOG.to_frame(), letters, {}, None))
    done = parcelwatch("redrive", "--db", db, cwd=tmp_path)
    assert done.status == 0, done.complaint
    assert "4 dead letters tried: 2 are events now, 2 are dead still" in done.out
    assert open_flags(db) == {("no_pickup_scan", "o2")}
    done = parcelwatch("redrive", "--db", db, cwd=tmp_path)
    assert "2 dead letters tried: 0 are events now, 2 are dead still" in done.out


def test_interrupting_a_command_is_quiet(judged: Path) -> None:
    endless = "SELECT sum(hash(range)) FROM range(1000000000000)"
    with start("query", endless, "--db", judged, cwd=judged.parent) as process:
        await_that(lambda: has_open(process.pid, ".duckdb"))
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 130


def has_open(pid: int, ending: str) -> bool:
    """Whether a process has a file with this ending open, as Linux shows it."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if str(link.readlink()).endswith(ending):
                return True
    return False


def test_the_program_starts_without_a_configuration_or_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "rules"],
        cwd=tmp_path,
        env={**environment(), "LANG": "C", "LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "Channels" not in done.stdout.decode()
