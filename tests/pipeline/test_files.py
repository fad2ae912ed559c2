import gzip
import io
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from pipeline import files
from pipeline.documents import open_files
from pipeline.files import FileReader, FileSourceError, open_readers
from pipeline.store import Offset
from pipeline.tables import with_values
from schemas.frames import RECORDS


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


PACKINGS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstd}


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def reader_of(path: Path, batch_records_max: int = files.BATCH_RECORDS_MAX) -> FileReader:
    [reader] = open_readers([path], batch_records_max)
    return reader


def read_all(reader: FileReader) -> list[tuple[int, bytes]]:
    """The (position, value) of all records."""
    found = []
    while (batch := reader.read()) is not None:
        assert with_values(batch.records).schema == RECORDS
        assert batch.records["source"].unique().to_list() in ([], [reader.name])
        assert batch.records["recorded_at"].null_count() == len(batch.records)
        found += with_values(batch.records).select("position", "value").rows()
    return found


def lines_of(data: bytes) -> list[tuple[int, bytes]]:
    """What must be read of `data`, said in another way."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [(number, line.removesuffix(b"\r")) for number, line in enumerate(lines, 1) if line.strip()]


def pieces() -> st.SearchStrategy[bytes]:
    odd = st.sampled_from(
        [
            b"\n",
            b"\r\n",
            b"\r",
            b"\xef\xbb\xbf",
            b" ",
            b"\t",
            b"{}",
            b"x" * 12,
            b"y" * 13,
            b"\0",
            b"\xff",
            "签收".encode(),
        ]
    )
    return st.lists(odd | st.binary(max_size=40), max_size=40).map(b"".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(params=[5, 4 << 20], ids=["tiny chunks", "usual chunks"])
def chunk_bytes(request: pytest.FixtureRequest) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK_BYTES", request.param)
        patch.setattr(files, "_SEARCH_BYTES", max(3, request.param // 2))
        yield request.param


# ------------------------------------------------------------------------------------------------------------------- NDJSON


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("chunk", [5, 64, 4 << 20])
@given(data=pieces(), batch=st.integers(1, 9))
def test_every_line_is_read_once_whatever_the_chunks_and_batches(
    folder: Path, packing: str, chunk: int, data: bytes, batch: int
) -> None:
    path = write(folder / f"lines.ndjson{packing}", PACKINGS[packing](data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK_BYTES", chunk)
        patch.setattr(files, "_SEARCH_BYTES", 3)
        assert read_all(reader_of(path, batch)) == lines_of(data)


@pytest.mark.parametrize("packing", PACKINGS)
@given(data=pieces(), batch=st.integers(1, 9), other_batch=st.integers(1, 9))
def test_reading_goes_on_after_any_batch(folder: Path, packing: str, data: bytes, batch: int, other_batch: int) -> None:
    path = write(folder / f"resumed.ndjson{packing}", PACKINGS[packing](data))
    first = reader_of(path, batch)
    seen: list[tuple[int, bytes]] = []
    while (step := first.read()) is not None:
        seen += step.records.select("position", "value").rows()
        second = reader_of(path, other_batch)
        second.resume(step.offset)
        assert seen + read_all(second) == lines_of(data)
        assert not second.changed
    assert seen == lines_of(data)


def test_memory_is_used_again_but_not_while_anybody_holds_what_was_read_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_CHUNK_BYTES", 4096)
    lines = [f"{number:050}".encode() for number in range(5000)]  # too long to stand in a view
    path = write(tmp_path / "a.ndjson", b"\n".join(lines))
    reader = reader_of(path, 100)
    held = [batch.records for batch in iter(reader.read, None)]
    assert pl.concat(held, rechunk=False)["value"].to_list() == lines
    chunks = len(reader._memory._free)
    del held
    assert len(reader._memory._free) - chunks > 50
    fresh = reader_of(path, 100)
    while fresh.read() is not None:
        pass
    assert len(fresh._memory._free) < 5


def test_the_offset_counts_lines_and_sums_their_bytes(tmp_path: Path) -> None:
    data = b'{"a":1}\n\n{"b":2}\r\n{"c":3}'
    reader = reader_of(write(tmp_path / "a.ndjson", data), batch_records_max=3)
    batches = [reader.read(), reader.read(), reader.read()]
    assert [batch and batch.offset for batch in batches] == [
        Offset(3, crc32c(b'{"a":1}\n\n{"b":2}\r\n')),
        Offset(4, crc32c(data)),
        None,
    ]


def test_a_file_that_has_grown_is_read_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", b"1\n2\n")
    first = reader_of(path)
    batch = first.read()
    assert batch is not None
    write(path, b"1\n2\n3\n")
    second = reader_of(path)
    second.resume(batch.offset)
    assert read_all(second) == [(3, b"3")]


@pytest.mark.parametrize("now", [b"1\nX\n3\n", b"1\n", b"", b"\n1\n2\n"])
def test_a_file_that_was_changed_is_read_from_its_beginning(tmp_path: Path, now: bytes) -> None:
    path = write(tmp_path / "a.ndjson", b"1\n2\n")
    first = reader_of(path)
    batch = first.read()
    assert batch is not None
    write(path, now)
    second = reader_of(path)
    second.resume(batch.offset)
    assert read_all(second) == lines_of(now)
    assert second.changed


@pytest.mark.parametrize("join", [gzip.compress, zstd])
def test_members_and_frames_behind_one_another_are_one_file(
    tmp_path: Path, join: Callable[[bytes], bytes], chunk_bytes: int
) -> None:
    suffix = ".gz" if join is gzip.compress else ".zst"
    path = write(tmp_path / f"a.jsonl{suffix}", join(b"1\n2") + join(b"") + join(b"3\n4\n"))
    assert read_all(reader_of(path)) == [(1, b"1"), (2, b"23"), (3, b"4")]


def test_zeros_behind_the_last_gzip_member_are_padding(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(b"1\n") + bytes(1000))
    assert read_all(reader_of(path)) == [(1, b"1")]


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_what_lies_before_a_truncation_is_read_and_then_told(tmp_path: Path, packing: str) -> None:
    lines = b"".join(os.urandom(50).hex().encode() + b"\n" for _ in range(3000))
    packed = PACKINGS[packing](lines)
    path = write(tmp_path / f"cut.ndjson{packing}", packed[: len(packed) // 2])
    reader = reader_of(path)
    batch = reader.read()
    assert batch is not None
    assert 500 < len(batch.records) < 2500
    assert batch.records["value"].to_list() == lines.split(b"\n")[: len(batch.records)]
    with pytest.raises(FileSourceError, match=r"cut\.ndjson.*ends in the middle of its .* data: get the rest"):
        reader.read()


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_what_is_no_packed_data_is_told(tmp_path: Path, packing: str) -> None:
    path = write(tmp_path / f"plain.ndjson{packing}", b'{"type":"scan"}\n')
    with pytest.raises(FileSourceError, match=r"plain\.ndjson.* damaged, or no (gzip|zstd) file"):
        reader_of(path).read()


def test_a_ten_megabyte_line_is_read_whole(tmp_path: Path) -> None:
    line = b'"' + b"x" * 10_000_000 + b'"'
    path = write(tmp_path / "a.ndjson", b"1\n" + line + b"\n2\n")
    assert read_all(reader_of(path)) == [(1, b"1"), (2, line), (3, b"2")]


def test_a_line_without_end_is_cut_and_can_be_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LINE_BYTES_MAX", 20)
    monkeypatch.setattr(files, "_CHUNK_BYTES", 7)
    path = write(tmp_path / "a.ndjson", b"{}" + b" " * 50 + b"\n" + b"x" * 20 + b"\n2\n")
    assert read_all(reader_of(path)) == [(1, b"{}" + b" " * 18 + files.CUT_MARK), (2, b"x" * 20), (3, b"2")]


def test_the_first_batches_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNK_BYTES", 1000)
    monkeypatch.setattr(files, "BATCH_BYTES_MAX", 16_000)
    sizes = [
        batch.records.height for batch in iter(reader_of(write(tmp_path / "a.ndjson", b"x\n" * 60_000)).read, None)
    ]
    assert [round(size, -3) for size in sizes[:6]] == [2000, 2000, 4000, 8000, 8000, 8000]


def test_batches_are_bounded_in_records_and_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.ndjson", b"x\n" * 200_000)
    reader = reader_of(path)
    assert [len(batch.records) for batch in iter(reader.read, None)] == [65_536, 65_536, 65_536, 3392]
    monkeypatch.setattr(files, "_CHUNK_BYTES", 1000)
    monkeypatch.setattr(files, "BATCH_BYTES_MAX", 10_000)
    reader = reader_of(path)
    assert all(len(batch.records) < 6000 for batch in iter(reader.read, None))


@pytest.mark.parametrize("data", [b"", b"\n", b"\n \n\r\n\t", b"\xef\xbb\xbf"])
def test_a_file_without_records_ends_at_once(tmp_path: Path, data: bytes) -> None:
    assert read_all(reader_of(write(tmp_path / "a.ndjson", data))) == []


def test_progress_counts_the_bytes_on_disk(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson.gz", gzip.compress(b"1\n" * 100_000))
    reader = reader_of(path)
    assert (reader.bytes_read, reader.size) == (0, path.stat().st_size)
    read_all(reader)
    assert reader.bytes_read == reader.size


def test_standard_input_is_read_as_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"1\n2")))
    [reader] = open_readers(["-"])
    assert (reader.name, reader.size) == ("-", 0)
    assert read_all(reader) == [(1, b"1"), (2, b"2")]


# ------------------------------------------------------------------------------------------------------------ finding files


def test_a_folder_gives_its_event_files_in_order_of_name(tmp_path: Path) -> None:
    for name in (
        "b.ndjson",
        "a/z.JSONL.gz",
        "a/b/c.json",
        "d.zst",
        "c.parquet.tmp",
        ".hidden.ndjson",
        ".git/x.ndjson",
        "README",
    ):
        write(tmp_path / name, b"")
    assert [reader.name for reader in open_readers([tmp_path])] == [
        str(tmp_path / name) for name in ("a/b/c.json", "a/z.JSONL.gz", "b.ndjson")
    ]


def test_a_file_named_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.ndjson", b"")
    monkeypatch.chdir(tmp_path)
    assert [reader.name for reader in open_readers(["a.ndjson", path, tmp_path])] == [str(path)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.ndjson", r"missing\.ndjson: No such file or directory; check the path"),
        ("notes.txt", r"notes\.txt: not a kind of event file; rename it so that it ends in \.ndjson"),
        ("empty", r"empty: no event file in this folder; their names end in \.ndjson"),
        ("fake.parquet", r"fake\.parquet: not a Parquet file"),
        ("short.parquet", r"short\.parquet: not a Parquet file"),
        ("odd.parquet", r"odd\.parquet: neither a column `value`.*found a, b"),
        ("torn.parquet", r"torn\.parquet: not readable as Parquet \("),
    ],
)
def test_a_path_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path / "notes.txt", b"hello")
    write(tmp_path / "empty/README", b"")
    write(tmp_path / "fake.parquet", b"{}\n" * 100)
    write(tmp_path / "short.parquet", b"P")
    write(tmp_path / "torn.parquet", b"PAR1" + b"\xff" * 100 + (50).to_bytes(4, "little") + b"PAR1")
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(tmp_path / "odd.parquet")
    with pytest.raises(FileSourceError, match=message) as caught:
        open_readers([tmp_path / name])
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", b"")
    path.chmod(0)
    with pytest.raises(FileSourceError, match="no permission to read it"):
        open_readers([path])


# ------------------------------------------------------------------------------------------------------------------ Parquet


def rows_of(path: Path, batch_records_max: int = files.BATCH_RECORDS_MAX) -> list[Any]:
    records = read_all(reader_of(path, batch_records_max))
    assert [position for position, _ in records] == list(range(len(records)))
    return [json.loads(value) for _, value in records]


@pytest.mark.parametrize("kind", [pa.binary(), pa.string(), pa.large_string(), pa.binary_view()])
def test_a_dump_of_messages_is_read_as_they_are(tmp_path: Path, kind: pa.DataType) -> None:
    values = [b'{"type": "scan"}', None, b"", b"no json"]
    text = [value and value.decode() for value in values]
    column = pa.array(text if "string" in str(kind) else values, kind)
    path = tmp_path / "dump.parquet"
    pq.write_table(pa.table({"key": ["a"] * 4, "value": column}), path)
    assert [value for _, value in read_all(reader_of(path))] == values


def test_columns_become_events(tmp_path: Path) -> None:
    beijing = timezone(timedelta(hours=8))
    table = pa.table(
        {
            "type": ["order_paid", "scan", "exemption_granted"],
            "occurred_at": pa.array([datetime(2026, 3, 1, 10, 0, 0, 1, beijing)] * 3, pa.timestamp("us", "+08:00")),
            "received_at": pa.array(
                [None, datetime(2026, 3, 1, 2, tzinfo=UTC), None], pa.timestamp("ns", "Asia/Shanghai")
            ),
            "extended_to": pa.array([None, None, datetime.fromisoformat("2026-03-01T10:00:00")], pa.timestamp("ms")),
            "order_id": ['O"1\\\n', None, "O3"],
            "amount": pa.array([Decimal("12.50"), None, None], pa.decimal128(12, 2)),
            "ship_within_hours": pa.array([48, None, None], pa.int16()),
            "address": pa.array([{"province": "浙江省", "city": None}, None, None]),
            "rules": pa.array([None, None, ["no_pickup_scan", "*"]]),
            "batch_no": pa.array([2**53 + 1, None, None], pa.int64()),
            "carrier": pa.array([None, "zto", None]).dictionary_encode(),
            "waybill_no": pa.array([None, b"78", None], pa.binary()),
        }
    )
    path = tmp_path / "columns.parquet"
    pq.write_table(table, path)
    assert rows_of(path) == [
        {
            "type": "order_paid",
            "occurred_at": "2026-03-01T02:00:00.000001+00:00",
            "order_id": 'O"1\\\n',
            "amount": "12.50",
            "ship_within_hours": 48,
            "address": {"province": "浙江省"},
            "batch_no": 2**53 + 1,
        },
        {
            "type": "scan",
            "occurred_at": "2026-03-01T02:00:00.000001+00:00",
            "received_at": "2026-03-01T02:00:00+00:00",
            "carrier": "zto",
            "waybill_no": "78",
        },
        {
            "type": "exemption_granted",
            "occurred_at": "2026-03-01T02:00:00.000001+00:00",
            "extended_to": "2026-03-01T10:00:00",
            "order_id": "O3",
            "rules": ["no_pickup_scan", "*"],
        },
    ]


@pytest.mark.parametrize("batch", [1, 3, 4, 100])
@pytest.mark.parametrize("stop", [0, 1, 4, 7, 10])
def test_parquet_is_read_on_across_row_groups(tmp_path: Path, batch: int, stop: int) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"value": [str(number) for number in range(10)]}), path, row_group_size=4)
    assert rows_of(path, batch) == list(range(10))
    offset = reader_of(path).read()
    assert offset is not None
    resumed = reader_of(path, batch)
    resumed.resume(Offset(stop, offset.offset.checksum))
    assert read_all(resumed) == [(number, str(number).encode()) for number in range(stop, 10)]
    assert not resumed.changed


def test_another_parquet_file_of_the_same_name_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"value": ["1", "2"]}), path)
    batch = reader_of(path).read()
    assert batch is not None
    pq.write_table(pa.table({"value": ["1", "3"]}), path)
    resumed = reader_of(path)
    resumed.resume(batch.offset)
    assert [value for _, value in read_all(resumed)] == [b"1", b"3"]
    assert resumed.changed


def test_damage_in_a_row_group_is_told_after_what_lies_before(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"value": [str(number) for number in range(20)]}), path, row_group_size=10, compression="zstd"
    )
    data = bytearray(path.read_bytes())
    middle = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    data[middle : middle + 40] = b"\xff" * 40
    write(path, bytes(data))
    reader = reader_of(path, 10)
    batch = reader.read()
    assert batch is not None
    assert len(batch.records) == 10
    with pytest.raises(FileSourceError, match=r"a\.parquet: not readable as Parquet"):
        reader.read()


# --------------------------------------------------------------------------------------------------------------- documents


def test_a_document_over_several_lines_is_one_payload_and_a_list_is_many(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{\n "a": 1\n}')
    (tmp_path / "many.json").write_text('[\n {"a": 1},\n {"b": "快"}\n]\n')
    (tmp_path / "lines.json").write_text('{"a": 1}\n{"b": 2}\n')
    (tmp_path / "broken.json").write_text('{\n "a": 1\n')
    read = {}
    for reader in open_files([tmp_path]):
        batches = [batch.records for batch in iter(reader.read, None)]
        read[Path(reader.name).name] = [
            row for batch in batches for row in batch.select("position", "value").iter_rows()
        ]
    assert read == {
        "one.json": [(0, b'{\n "a": 1\n}')],
        "many.json": [(0, b'{"a":1}'), (1, '{"b":"快"}'.encode())],
        "lines.json": [(1, b'{"a": 1}'), (2, b'{"b": 2}')],
        "broken.json": [(1, b"{"), (2, b' "a": 1')],
    }


def test_a_document_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text('{\n "a": 1\n}')
    batch = open_files([path])[0].read()
    assert batch is not None
    [again] = open_files([path])
    again.resume(batch.offset)
    assert again.read() is None
    assert not again.changed
    path.write_text('{\n "a": 2\n}')
    [changed] = open_files([path])
    changed.resume(batch.offset)
    assert changed.read() is not None
    assert changed.changed
