"""What is committed is there, together or not at all, and the views say what the contract says."""

import os
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline import healing
from pipeline.reading import query
from pipeline.store import Offset, Store, StoreError, StoreLockedError
from schemas.frames import FACTS, FLAG_LOG
from tests.pipeline.store_rows import T0, at, commit, facts, flags, letters

PAID = {"type": "order_paid", "platform": "douyin", "merchant_id": "m", "amount": "12.50", "city": "深圳市"}
UPLOAD = {"carrier": "SF", "waybill_no": "1"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flags.duckdb"


@pytest.fixture
def store(path: Path):
    with Store(path) as store:
        yield store


def view(store: Store, name: str, *columns: str) -> list[tuple[object, ...]]:
    return store.sql(f"SELECT {', '.join(columns) or '*'} FROM {name} ORDER BY ALL").rows()


def scan(waybill_no: str, status: str, hours: float, carrier: str = "SF") -> dict[str, object]:
    return {"carrier": carrier, "waybill_no": waybill_no, "status": status, "occurred_at": at(hours)}


# Commits


def test_what_is_committed_is_there_after_a_restart_with_every_type_intact(path: Path) -> None:
    tables = facts(
        order_facts=[
            PAID | {"order_id": "a", "ship_within_hours": 48, "detail": "科技园路 1 号 '\"\\", "name_hash": "n"},
            {"order_id": "a", "type": "exemption_granted", "rules": ["late_shipment", "*"], "extended_to": at(9)},
        ],
        exemptions=[{"merchant_id": "m", "rules": ["*"], "applies_from": at(1), "applies_until": at(2)}],
        aftersale_facts=[{"type": "refunded", "order_id": "a", "aftersale_id": "c", "amount": "1.50"}],
        uploads=[UPLOAD | {"order_id": "a", "event_id": "e", "aftersale_id": "c"}],
        scans=[scan("1", "picked_up", 1) | {"description": "已揽收"}],
        replacements=[UPLOAD | {"new_carrier": "YT", "new_waybill_no": "2", "reason": "transfer"}],
    )
    flagged = flags({"flag_id": "f", "order_id": "a", "aftersale_id": "c", "compensation_percent": Decimal("2.5")})
    offsets = {"t/0": Offset(7, None), "/f.ndjson": Offset(3, 0xFFFFFFFF)}
    with Store(path) as store:
        store.commit(commit(tables, flagged, offsets=offsets, clock=at(30)))
    with Store(path) as store:
        assert store.healed is None
        for name, schema in FACTS.items():
            found = pl.concat(store.facts(name))
            assert found.schema == schema
            assert_frame_equal(found, tables[name])
        assert store.flags().schema == FLAG_LOG
        assert_frame_equal(store.flags(), flagged)
        assert store.offsets() == offsets
        assert store.clock() == at(30)


def test_a_commit_that_fails_leaves_nothing_behind(path: Path) -> None:
    wrong = flags({"flag_id": "f", "order_id": "a", "evidence": "no JSON"})
    with pytest.raises(duckdb.Error), Store(path) as store:
        store.commit(
            commit(facts(uploads=[UPLOAD | {"order_id": "a"}]), wrong, offsets={"t/0": Offset(1, None)}, clock=T0)
        )
    with Store(path) as store:
        assert view(store, "uploads") == []
        assert store.offsets() == {}
        assert store.clock() is None


def test_offsets_of_sources_that_were_not_read_stay_and_those_that_were_may_go_back(store: Store) -> None:
    store.commit(commit(offsets={"a": Offset(5, 1), "b": Offset(6, None)}))
    store.commit(commit(offsets={"a": Offset(2, 9), "c": Offset(1, None)}))
    assert store.offsets() == {"a": Offset(2, 9), "b": Offset(6, None), "c": Offset(1, None)}
    assert view(store, "offsets") == [("a", 2, 9), ("b", 6, None), ("c", 1, None)]


def test_the_clock_never_goes_back(store: Store) -> None:
    store.commit(commit(clock=at(2)))
    store.commit(commit())
    assert store.clock() == at(2)
    with pytest.raises(AssertionError, match="clock"):
        store.commit(commit(clock=at(1)))


def test_a_batch_may_be_larger_than_a_row_group(store: Store) -> None:
    many = pl.concat([facts(scans=[scan("1", "in_transit", 0)])["scans"]] * 200_000)
    file = store.path.read_bytes()
    store.commit(commit({"scans": many}))
    assert store.path.read_bytes() == file, "rows must go through the log, whatever their number"
    assert [frame.height <= 65_536 for frame in store.facts("scans")] == [True] * 4


# Letters


def test_a_letter_read_again_is_not_doubled_but_takes_the_new_error(store: Store) -> None:
    one = {"source": "t/0", "position": 4, "raw": b"{\xff", "error": "not UTF-8"}
    store.commit(commit(dead=letters(one, one | {"position": 5, "raw": None})))
    again = letters(
        one | {"error": "better"}, one | {"raw": b"other"}, one | {"position": 5, "raw": None}, one | {"source": "t/1"}
    )
    store.commit(commit(dead=pl.concat([again, again])))
    assert view(store, "dead_letters", "id", "source", "position", "raw", "error") == [
        (1, "t/0", 4, b"{\xff", "better"),
        (2, "t/0", 5, None, "not UTF-8"),
        (3, "t/0", 4, b"other", "not UTF-8"),
        (4, "t/1", 4, b"{\xff", "not UTF-8"),
    ]


def test_what_was_redriven_is_dead_no_more_and_what_failed_again_stays(store: Store) -> None:
    one = {"source": "t/0", "raw": b"x", "error": "unknown type"}
    store.commit(commit(dead=letters(*(one | {"position": n} for n in range(4)))))
    store.commit(commit(dead=letters(one | {"position": 2, "error": "still"}), redriven=[1, 2, 4]))
    assert view(store, "dead_letters", "id", "error") == [(3, "still")]
    assert store.letters_after(0, dead_only=True)["id"].to_list() == [3]
    assert store.letters_after(1, 2)["id"].to_list() == [2, 3]


def test_letters_are_numbered_on_after_a_restart(path: Path) -> None:
    one = {"source": "t/0", "raw": b"x", "error": "e"}
    for position in range(3):
        with Store(path) as store:
            store.commit(commit(dead=letters(one | {"position": position}, one | {"position": 0})))
            assert store.letters_after(0)["id"].to_list() == list(range(1, position + 2))


# Flags


def test_a_flag_is_its_latest_change_and_its_history_leaves_out_amendments(store: Store) -> None:
    flag = {"flag_id": "f", "order_id": "a"}
    store.commit(commit(flagged=flags(flag, flag | {"change": "amended", "violated_at": at(1), "changed_at": at(2)})))
    store.commit(
        commit(
            flagged=flags(
                flag
                | {
                    "change": "cleared",
                    "status": "cleared",
                    "cleared_at": at(3),
                    "reason": "late scan",
                    "changed_at": at(3),
                },
                flag | {"flag_id": "g"},
            )
        )
    )
    assert view(store, "flags", "flag_id", "status", "reason") == [("f", "cleared", "late scan"), ("g", "open", None)]
    assert view(store, "flag_history", "flag_id", '"at"', "change") == [
        ("f", T0, "opened"),
        ("f", at(3), "cleared"),
        ("g", T0, "opened"),
    ]
    assert view(store, "flags", "evidence ->> 'limit_hours'") == [("24",), ("24",)]
    after = store.flags_after(1, limit=2)
    assert after.select("seq", "change").rows() == [(2, "amended"), (3, "cleared")]


def test_the_flags_have_the_columns_of_the_contract_first(store: Store) -> None:
    columns = store.sql("SELECT * FROM flags").columns
    assert columns[:13] == [
        "flag_id", "rule", "clause", "platform", "merchant_id", "order_id", "carrier", "waybill_no", "violated_at",
        "detected_at", "status", "cleared_at", "evidence",
    ]  # fmt: skip


def test_what_was_published_is_remembered(path: Path) -> None:
    with Store(path) as store:
        assert store.published("flags") == 0
        store.mark_published("flags", 5)
        store.mark_published("flags", 7)
        store.mark_published("letters", 1)
    with Store(path) as store:
        assert (store.published("flags"), store.published("letters")) == (7, 1)


# Subjects


def test_a_subject_is_loaded_with_all_that_is_known_of_it_and_nothing_else(store: Store) -> None:
    one, other = {"order_id": "a"}, {"order_id": "b"}
    store.commit(
        commit(
            facts(
                order_facts=[PAID | one, PAID | other],
                uploads=[UPLOAD | one, UPLOAD | other, {"order_id": "b", "carrier": "SF", "waybill_no": "9"}],
                scans=[scan("1", "picked_up", 1), scan("1", "picked_up", 1, carrier="YT"), scan("9", "picked_up", 1)],
                replacements=[
                    UPLOAD | {"new_carrier": "YT", "new_waybill_no": "2"},
                    {"carrier": "ZT", "waybill_no": "3", "new_carrier": "SF", "new_waybill_no": "1"},
                    {"carrier": "ZT", "waybill_no": "3", "new_carrier": "ZT", "new_waybill_no": "4"},
                ],
            ),
            flags(one | {"flag_id": "f"}, one | {"flag_id": "f", "status": "exempt"}, other | {"flag_id": "g"}),
        )
    )
    found = store.load(pl.Series(["a"]), pl.DataFrame([UPLOAD]))
    assert found["order_facts"]["order_id"].to_list() == ["a"]
    assert sorted(found["uploads"].select("order_id", "waybill_no").rows()) == [("a", "1"), ("b", "1")]
    assert found["scans"].select("carrier", "waybill_no").rows() == [("SF", "1")]
    assert sorted(found["replacements"]["new_waybill_no"]) == ["1", "2"]
    assert found["flags"].select("flag_id", "status").rows() == [("f", "exempt")]
    assert all(frame.schema == {**FACTS, "flags": FLAG_LOG}[name] for name, frame in found.items())
    assert found.keys() == {*FACTS, "flags"} - {"exemptions"}  # these belong to no subject, and never leave memory
    nothing = store.load(
        pl.Series([], dtype=pl.String), pl.DataFrame(schema={"carrier": pl.String, "waybill_no": pl.String})
    )
    assert all(frame.is_empty() for frame in nothing.values())


# Views of the facts


def test_an_order_is_its_earliest_payment_and_its_latest_address_and_recipient(store: Store) -> None:
    order = {"order_id": "a"}
    changed = order | {"type": "address_changed"}
    payment = PAID | order | {"name_hash": "n0", "phone_hash": "p0", "district": "南山区"}
    store.commit(
        commit(
            facts(
                order_facts=[
                    payment | {"occurred_at": at(1), "amount": "99"},
                    payment,
                    changed | {"occurred_at": at(2), "city": "广州市", "name_hash": "n2", "phone_hash": "p2"},
                    changed | {"occurred_at": at(3), "city": "佛山市"},
                    order | {"type": "order_cancelled", "occurred_at": at(8)},
                    order | {"type": "order_cancelled", "occurred_at": at(7)},
                    PAID | {"order_id": "b", "amount": "1e9"},
                ],
                uploads=[
                    UPLOAD | order | {"occurred_at": at(5)},
                    UPLOAD | order | {"occurred_at": at(4)},
                    UPLOAD | {"order_id": "c"},
                ],
            )
        )
    )
    columns = (
        "order_id",
        "amount::VARCHAR",
        "paid_at",
        "city",
        "district",
        "name_hash",
        "cancelled_at",
        "first_uploaded_at",
    )
    assert view(store, "orders", *columns) == [
        ("a", "12.50", T0, "佛山市", None, "n2", at(7), at(4)),
        ("b", "1000000000.00", T0, "深圳市", None, None, None, None),
        ("c", None, None, None, None, None, None, T0),
    ]


def test_contradictions_at_one_moment_are_settled_by_content_and_not_by_arrival(tmp_path: Path) -> None:
    disagreeing = facts(
        order_facts=[
            PAID | {"order_id": "a", "merchant_id": "m2"},
            PAID | {"order_id": "a", "merchant_id": "m1"},
            {"order_id": "a", "type": "address_changed", "city": "甲"},
            {"order_id": "a", "type": "address_changed", "city": "乙"},
        ],
        uploads=[UPLOAD | {"order_id": "a"}],
        scans=[scan("1", "delivered", 3), scan("1", "out_for_delivery", 3), scan("1", "available_for_pickup", 3)],
        replacements=[UPLOAD | {"new_carrier": "SF", "new_waybill_no": n} for n in "34"],
    )
    found = []
    for name, turn in (("one", False), ("other", True)):
        with Store(tmp_path / name) as store:
            store.commit(commit({table: frame.reverse() if turn else frame for table, frame in disagreeing.items()}))
            found.append((view(store, "orders"), view(store, "shipments")))
    assert found[0] == found[1]
    assert view_row(found[0][1], "scanned_waybill_no") == "4"


def view_row(rows: list[tuple[object, ...]], column: str) -> object:
    columns = (
        "order_id", "carrier", "waybill_no", "platform", "merchant_id", "paid_at", "uploaded_at", "scanned_carrier",
        "scanned_waybill_no", "picked_up_at", "moved_at", "first_hub_at", "last_drop_at", "last_drop_status",
        "delivered_at", "last_scanned_at", "turned_back", "cancelled_at", "uploaded_for_order", "category",
    )  # fmt: skip
    assert len(rows) == 1
    assert len(rows[0]) == len(columns)
    return dict(zip(columns, rows[0], strict=True))[column]


@pytest.mark.parametrize(
    ("scans", "expected"),
    [
        ([], {"picked_up_at": None, "last_scanned_at": None, "turned_back": False}),
        (
            [("picked_up", 2), ("picked_up", 1), ("info_received", 3), ("cancelled", 4), ("customs", 5)],
            {"picked_up_at": 1, "moved_at": 5, "first_hub_at": None, "last_scanned_at": 5},
        ),
        ([("in_transit", 0.5), ("picked_up", 1), ("in_transit", 1)], {"moved_at": None}),
        ([("picked_up", 1), ("in_transit", 2), ("departed_facility", 3)], {"moved_at": 2, "first_hub_at": 3}),
        ([("in_transit", 2)], {"picked_up_at": None, "moved_at": None, "last_scanned_at": 2}),
        (
            [("delivered", 3), ("delivered", 5), ("out_for_delivery", 5), ("available_for_pickup", 5)],
            {"delivered_at": 3, "last_drop_at": 5, "last_drop_status": "delivered"},
        ),
        ([("available_for_pickup", 5), ("out_for_delivery", 5)], {"last_drop_status": "available_for_pickup"}),
        (
            [("delivered", 1), ("out_for_delivery", 5), ("returned", 6)],
            {"last_drop_status": "out_for_delivery", "turned_back": True},
        ),
    ],
)
def test_a_shipment_is_condensed_from_its_scans(
    store: Store, scans: list[tuple[str, float]], expected: dict[str, object]
) -> None:
    scanned = [scan("1", status, hours) for status, hours in scans]
    store.commit(commit(facts(uploads=[UPLOAD | {"order_id": "a"}], scans=scanned)))
    rows = view(store, "shipments")
    for column, value in expected.items():
        wanted = at(value) if column.endswith("_at") and isinstance(value, int | float) else value
        assert view_row(rows, column) == wanted, column


@pytest.mark.parametrize(
    ("replacements", "ends_at"),
    [
        ("", "1"),
        ("1>2", "2"),
        ("1>2 2>3 3>4", "4"),
        ("2>3", "1"),
        ("1>1", "1"),
        ("1>2 2>1", "2"),
        ("1>2 2>3 3>2", "3"),
        ("1>2@5 1>3@4", "2"),
        ("1>2 2>3@9 2>1@1", "3"),
        ("1>2 2>1@9 2>3@1", "2"),
    ],
)
def test_a_chain_of_replacements_is_followed_to_its_end(store: Store, replacements: str, ends_at: str) -> None:
    rows = []
    for step in replacements.split():
        move, _, hours = step.partition("@")
        old, new = move.split(">")
        rows.append(
            {
                "carrier": "SF",
                "waybill_no": old,
                "new_carrier": "SF",
                "new_waybill_no": new,
                "occurred_at": at(int(hours or 0)),
            }
        )
    scans = [scan(number, "picked_up", int(number)) for number in "1234"]
    store.commit(commit(facts(uploads=[UPLOAD | {"order_id": "a"}], scans=scans, replacements=rows)))
    found = view(store, "shipments")
    assert view_row(found, "scanned_waybill_no") == ends_at
    assert view_row(found, "picked_up_at") == at(int(ends_at))
    assert view_row(found, "waybill_no") == "1"


# Summaries


def test_open_flags_are_gathered_by_shipment_and_by_order(store: Store) -> None:
    shipment = UPLOAD | {"order_id": "a"}
    store.commit(
        commit(
            facts(order_facts=[PAID | {"order_id": "a"}], uploads=[shipment], scans=[scan("1", "delivered", 3)]),
            flags(
                shipment | {"flag_id": "1", "violated_at": at(2), "detected_at": at(5)},
                shipment | {"flag_id": "2", "rule": "address_mismatch", "violated_at": at(3), "detected_at": at(4)},
                shipment | {"flag_id": "3", "rule": "waybill_reused", "status": "cleared"},
                {"flag_id": "4", "rule": "late_shipment", "order_id": "a"},
            ),
        )
    )
    columns = (
        "waybill_no",
        "rules",
        "first_violated_at",
        "last_violated_at",
        "first_detected_at",
        "flags",
        "paid_at",
        "delivered_at",
    )
    assert view(store, "flagged_shipments", *columns) == [
        ("1", ["address_mismatch", "no_pickup_scan"], at(2), at(3), at(4), 2, T0, at(3)),
        (None, ["late_shipment"], T0, T0, T0, 1, T0, None),
    ]


def test_merchants_are_counted_by_their_days_in_shanghai(store: Store) -> None:
    # Two shipments on the first day, one on the next (16:00 UTC is midnight in Shanghai), one order without an upload.
    uploads = [
        {"order_id": "a", "carrier": "SF", "waybill_no": "1", "occurred_at": at(11.999)},
        {"order_id": "b", "carrier": "SF", "waybill_no": "2"},
        {"order_id": "b", "carrier": "SF", "waybill_no": "3", "occurred_at": at(12)},
    ]
    first = {"order_id": "a", "carrier": "SF", "waybill_no": "1"}
    store.commit(
        commit(
            facts(
                order_facts=[PAID | {"order_id": order} for order in "abc"],
                uploads=uploads,
                aftersale_facts=[
                    {"type": "aftersale_opened", "order_id": "c", "aftersale_id": "x", "kind": "return_refund"}
                    | {"occurred_at": at(30)}
                ],
            ),
            flags(
                first | {"flag_id": "1"},
                {"flag_id": "2", "order_id": "b", "carrier": "SF", "waybill_no": "2"},
                {"flag_id": "2", "order_id": "b", "carrier": "SF", "waybill_no": "2", "status": "exempt"},
                {"flag_id": "3", "order_id": "c", "rule": "late_shipment"},
                {"flag_id": "4", "order_id": "c", "aftersale_id": "x", "rule": "refund_overdue"},
                {"flag_id": "4", "order_id": "c", "aftersale_id": "x", "rule": "refund_overdue", "status": "cleared"},
                {"flag_id": "5", "order_id": "a", "rule": "late_shipment", "status": "at_risk"},
            ),
        )
    )
    columns = (
        "day::VARCHAR",
        "rule",
        "shipments",
        "violations",
        "exempt",
        "cleared",
        "rate",
        "flagged",
        "flagged_rate",
    )
    assert view(store, "merchant_daily", *columns) == [
        ("2026-03-01", "late_shipment", 3, 1, 0, 0, 1 / 3, 1, 1 / 3),
        ("2026-03-01", "no_pickup_scan", 2, 1, 1, 0, 0.5, 2, 1.0),
        ("2026-03-02", "no_pickup_scan", 1, 0, 0, 0, 0.0, 0, 0.0),
        ("2026-03-02", "refund_overdue", 1, 0, 0, 1, 0.0, 1, 1.0),
    ]


def test_more_views_can_be_added_and_replaced(path: Path) -> None:
    for number in (1, 2):
        with Store(path, extra_views=f"CREATE OR REPLACE VIEW at_risk AS SELECT {number} AS n;") as store:
            assert view(store, "at_risk") == [(number,)]


# Who may open it, and what it says if not


def test_the_first_copy_of_a_new_database_can_be_asked_already(path: Path) -> None:
    with Store(path, extra_views="CREATE OR REPLACE VIEW mine AS SELECT 7 AS seven;") as store:
        deadline = time.monotonic() + 30
        while not store.copy_path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert query(path, "SELECT seven FROM mine WHERE NOT EXISTS (FROM flags)").frame.rows() == [(7,)]


def test_a_second_writer_is_told_who_has_the_file(store: Store) -> None:
    with pytest.raises(StoreLockedError, match=rf"flags\.duckdb is in use by process {os.getpid()}: stop that first"):
        Store(store.path)


def test_the_lock_is_waited_for_while_a_child_of_the_last_writer_closes_it(path: Path) -> None:
    with Store(path) as store:
        inherited = os.dup(store._lock_fd)
    closing_it = threading.Timer(0.2, os.close, [inherited])
    closing_it.start()
    Store(path).close()
    closing_it.join()


def test_a_reader_that_keeps_the_file_open_is_named_after_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(path).close()
    monkeypatch.setattr(healing, "_LOCK_WAIT_SECONDS", 0)
    code = f"import duckdb; c = duckdb.connect({str(path)!r}, read_only=True); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout
        assert reader.stdin
        assert reader.stdout.readline() == "open\n"
        with pytest.raises(StoreLockedError, match=f"in use by process {reader.pid}"):
            Store(path)
        reader.stdin.write("\n")
    Store(path).close()


def test_the_file_is_free_again_after_an_error(path: Path) -> None:
    store = Store(path)
    store.commit(commit(offsets={"t/0": Offset(1, None)}))
    with pytest.raises(KeyError), store:
        raise KeyError
    with Store(path) as store:
        assert store.offsets() == {"t/0": Offset(1, None)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("order_id,rule\n"), "could not be read .* nothing was changed"),
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: duckdb.connect(str(path)).close(), "not parcelwatch's"),
        (lambda path: Path(f"{path}.wal").write_bytes(b"rows"), "is there, but not .*flags.duckdb that it belongs to"),
    ],
    ids=["text", "folder", "another database", "a log without its file"],
)
def test_what_is_not_ours_is_refused_and_left_as_it_is(path: Path, make, message: str) -> None:
    make(path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    with pytest.raises(StoreError, match=message):
        Store(path)
    (path.parent / "flags.duckdb.lock").unlink()
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()} == before


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    Store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE parcelwatch SET format = 99")
    with pytest.raises(StoreError, match=r"newer parcelwatch \(format 99"):
        Store(path)


def test_a_file_of_the_first_format_is_given_what_it_lacks_and_keeps_what_it_has(path: Path) -> None:
    paid = facts(order_facts=[PAID | {"order_id": "a"}], uploads=[UPLOAD | {"order_id": "a"}])
    with Store(path) as store:
        store.commit(commit(paid, flags({"flag_id": "f", "order_id": "a"}), clock=T0))
    since = {
        "order_facts": ("category", "products", "applies_from", "applies_until", "division"),
        "scans": ("division",),
        "uploads": ("aftersale_id",),
        "replacements": ("kind", "country", "province", "city", "district", "facility", "place_text", "division"),
        "flag_log": ("aftersale_id", "severity", "compensation_percent", "compensation_yuan"),
    }
    with duckdb.connect(str(path)) as connection:
        for view_name in ("flags", "flag_history", "orders", "shipments", "aftersales"):
            connection.execute(f"DROP VIEW {view_name}")
        for table in ("exemptions", "aftersale_facts", "purged"):
            connection.execute(f"DROP TABLE {table}")
        for table, columns in since.items():
            for column in columns:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("ALTER TABLE parcelwatch DROP COLUMN key_mark")
        connection.execute("UPDATE parcelwatch SET format = 1, views = NULL")
    for _ in range(2):  # upgraded, and found upgraded
        with Store(path) as store:
            assert store.clock() == T0
            assert_frame_equal(pl.concat(store.facts("order_facts")), paid["order_facts"])
            assert view(store, "flags", "flag_id", "aftersale_id") == [("f", None)]
            assert view(store, "aftersales") == []
            assert view(store, "parcelwatch", "format", "key_mark") == [(healing.FORMAT, None)]
            assert view(store, "purged") == sorted((table, 0, None) for table in (*FACTS, "flag_log", "letters"))


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere: no such folder"):
        Store(tmp_path / "nowhere" / "flags.duckdb")
