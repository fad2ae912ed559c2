"""Kafka's records as columns: kafka-python reads them one by one, in Python; here all of a fetch are read at once.

kafka-python still does everything else: it fetches, cuts what came into batches, checks them, decompresses them, leaves out markers
and aborted transactions, and knows where to go on. A batch is presented to it as one single record, the batch as a whole; `take`
collects some of these and reads what is in them with NumPy. Batches of the old formats, and those about whose records
anything is odd, are left to kafka-python's own reading, so that damage is found where it finds it, and said as it says it.

For this it leans on names that kafka-python keeps to itself (`_LEANS_ON`).
"""

import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
from kafka.consumer.fetcher import Fetcher
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import decode_varint
from numpy.typing import NDArray

_Numbers: TypeAlias = NDArray[np.int64]
_Words: TypeAlias = NDArray[np.uint64]
"""At every place, the eight bytes from there on."""

#: A record as a row: RECORDS without its source, and the time in milliseconds.
ROWS: Final = pl.Schema({"value": pl.Binary(), "position": pl.Int64(), "recorded_at": pl.Int64()})

_TAKE_BYTES_MAX: Final = 32 * 2**20
#: Records with more headers are left to kafka-python: here the headers of all records are gone through in step.
_HEADERS_MAX: Final = 64
#: What is read may end within the last eight bytes of it.
_PADDING: Final = bytes(8)
#: Sums of such moments and of what eight bytes of a varint can say do not overflow.
_MOMENT_MAX: Final = 2**62

_ONE_BYTE_MAX: Final = 0x7F
#: Fewer records are read one by one as quickly.
_MANY: Final = 64

_LEANS_ON: Final[dict[Any, tuple[str, ...]]] = {
    Fetcher: ("PartitionRecords", "_append"),
    Fetcher.PartitionRecords: ("_unpack_records", "_maybe_raise_next_inline_exception"),
    DefaultRecordBatch: ("_buffer", "_pos", "_maybe_uncompress"),
    MemoryRecords: ("_buffer",),
}

log = logging.getLogger(__name__)


def read_in_columns(consumer: Any) -> None:
    """Has `consumer.poll` give a list of frames of ROWS for each partition, not of records; at most as many rows as were asked for.

    Positions move as ever: behind the last record that was handed over. If this kafka-python is not the one that is known here,
    all stays as it is, and is said in the log: only slower.
    """
    fetcher = getattr(consumer, "_fetcher", None)
    gone = [name for owner, names in _LEANS_ON.items() for name in names if not hasattr(owner, name)]
    if gone or not isinstance(fetcher, Fetcher):
        log.warning("this kafka-python has no %s: records are read one by one", ", ".join(gone) or "_fetcher")
        return
    fetcher.PartitionRecords = _InColumns


def rows(read: Sequence[Any]) -> pl.DataFrame:
    """What `poll` gave for a partition, whether in columns or as records, as one frame of ROWS."""
    frames = (
        pl.concat(each) if in_columns else _from_records(list(each))
        for in_columns, each in groupby(read, lambda one: isinstance(one, pl.DataFrame))
    )
    return pl.concat(frames)


def _from_records(records: Sequence[Any]) -> pl.DataFrame:
    stamps = pl.Series([record.timestamp for record in records], dtype=pl.Int128)
    return pl.DataFrame(
        {
            "value": pl.Series([record.value for record in records], dtype=pl.Binary),
            "position": pl.Series([record.offset for record in records], dtype=pl.Int64),
            # kafka-python adds without bound; a moment that 64 bits cannot hold is none.
            "recorded_at": stamps.cast(pl.Int64, strict=False),
        }
    )


# ------------------------------------------------------------------------------------------ what kafka-python sees


class _Batch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python has no types
    """A batch that goes through kafka-python as a single record."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        if self.records_count <= 0:
            return self.one_by_one()
        self._maybe_uncompress()
        return iter((_Whole(self),))

    def one_by_one(self) -> Iterator[Any]:
        """The records, as kafka-python reads them."""
        self._maybe_uncompress()
        return iter(self.__next__, None)


class _Whole:
    """All records of a batch, with what kafka-python wants to know of a record. Its value is itself."""

    __slots__ = ("batch", "offset", "size_in_bytes")

    key = None
    headers = ()
    checksum = None
    timestamp = None
    timestamp_type = None

    def __init__(self, batch: _Batch) -> None:
        self.batch = batch
        self.offset = batch.last_offset
        self.size_in_bytes = batch.size_in_bytes

    @property
    def value(self) -> "_Whole":
        return self

    def __len__(self) -> int:
        """How long its value is; nobody wants to know."""
        return 0

    def validate_crc(self) -> bool:
        """The batch's was checked before."""
        return True


class _Batches(MemoryRecords):  # type: ignore[misc]
    __slots__ = ()

    def next_batch(self) -> Any:
        batch = super().next_batch()
        if type(batch) is DefaultRecordBatch and batch.magic == 2:  # noqa: PLR2004  the format since Kafka 0.11
            batch.__class__ = _Batch
        return batch


class _Taken:
    """A frame that counts as the records that are in it."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __len__(self) -> int:
        return self._frame.height

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return iter((self._frame,))


class _InColumns(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records that one fetch brought of one partition."""

    #: Rows that were read but not taken yet: of the batch that was read last, so that its epoch is theirs.
    _left = ROWS.to_frame()
    #: Where to go on behind them.
    _behind_left = 0
    #: Whether a record was met that is not below where the fetch began.
    _begun = False
    record_iterator: Any
    next_fetch_offset: int

    def _unpack_records(self, tp: Any, records: Any, *_: Any) -> Any:
        return super()._unpack_records(tp, _Batches(records._buffer), None, None)  # noqa: SLF001

    def take(self, n: int) -> _Taken:
        """The next records, `n` at most; none when all were taken.

        Raises:
            CorruptRecordError: the next record is damaged. Those before it have been taken.
        """
        if self._left.is_empty():
            self._maybe_raise_next_inline_exception()
            self._left = self._read(n)
            self._behind_left = self.next_fetch_offset
        taken, self._left = self._left[:n], self._left[n:]
        self.next_fetch_offset = self._behind_left if self._left.is_empty() else self._left["position"][0]
        return _Taken(taken)

    def _read(self, n: int) -> pl.DataFrame:
        """The records of the next batches, of no more than it takes for `n`."""
        read: list[Any] = []
        count = size = 0
        frames: list[pl.DataFrame] = []
        try:
            for record in self.record_iterator:
                whole = isinstance(record.value, _Whole)
                read.append(record.value.batch if whole else record)
                count += record.value.batch.records_count if whole else 1
                size += record.value.size_in_bytes if whole else 0
                if count >= n or size >= _TAKE_BYTES_MAX:
                    break
        except Exception as error:
            if not read:
                raise
            self._next_inline_exception = error  # To be raised after what came before it.
        try:
            frames.extend(self._frames(read))
        except Exception as error:
            self._next_inline_exception = error
        if not read:
            self.drain()
        return self._from_fetch_offset(pl.concat(frames)) if frames else ROWS.to_frame()

    def _maybe_skip_record(self, _: Any) -> bool:
        """Never: a batch may have records on both sides of where the fetch began."""
        return False

    def _from_fetch_offset(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self._begun:
            return frame
        within = frame["position"] >= self.fetch_offset
        self._begun = within.any()
        return frame[within.arg_max() :] if self._begun else frame.clear()

    def _frames(self, read: Iterable[Any]) -> Iterator[pl.DataFrame]:
        for whole, some in groupby(read, lambda one: isinstance(one, _Batch)):
            if not whole:
                yield _from_records(list(some))
                continue
            batches = list(some)
            try:
                yield _unpacked(batches)
            except _OddError:
                for batch in batches:
                    yield from self._one_by_one(batch)

    def _one_by_one(self, batch: _Batch) -> Iterator[pl.DataFrame]:
        records: list[Any] = []
        try:
            records.extend(batch.one_by_one())
        except Exception:
            yield _from_records(records)
            # What was read behind it is forgotten: it will be read again if the damage is repaired.
            self.next_fetch_offset = max(self.fetch_offset, records[-1].offset + 1 if records else batch.base_offset)
            self.leader_epoch = batch.leader_epoch
            self.record_iterator = iter(())
            raise
        yield _from_records(records)


# ------------------------------------------------------------------------------------------ what is in a batch


class _OddError(Exception):
    """Something that only kafka-python may judge."""


def _unpacked(batches: Sequence[_Batch]) -> pl.DataFrame:
    """The records of some batches as ROWS.

    A record is: its length, attributes, time since the batch's first, offset since the batch's, key, value, headers. All numbers
    are varints, keys and values come after their length, and -1 is the length of null.

    Raises:
        _OddError: they are few, or there is anything that these columns cannot hold, or that may be damaged.
    """
    counts = [batch.records_count for batch in batches]
    if sum(counts) < _MANY:
        raise _OddError
    contents = [memoryview(batch._buffer)[batch._pos :] for batch in batches]  # noqa: SLF001
    data = b"".join([*contents, _PADDING])
    begin, end = _bounds(data, counts, contents)
    words = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
    _expect(words[begin] & 0xFF == 0)  # attributes, of which Kafka uses none
    since, at = _varints(words, begin + 1)
    behind, at = _varints(words, at)
    key_length, at = _varints(words, at)
    length, start = _varints(words, at + np.maximum(key_length, 0))
    stop = start + np.maximum(length, 0)
    headers, at = _varints(words, stop)
    _expect(headers >= 0, headers <= _HEADERS_MAX)
    _expect(_after_headers(data, words, headers, at) == end)

    each = np.repeat(np.arange(len(batches)), counts)
    of_batch = np.array(
        [(b.base_offset, b.last_offset_delta, b.first_timestamp, b.max_timestamp, b.timestamp_type) for b in batches],
        np.int64,
    )
    base, last, first, newest, by_broker = of_batch.T[:, each]
    _expect(first < _MOMENT_MAX, first > -_MOMENT_MAX, base >= 0, behind >= 0, behind <= last)
    position = base + behind
    _expect(np.diff(position) > 0)
    return pl.DataFrame(
        {
            "value": _values(data, start, stop, length >= 0),
            "position": position,
            "recorded_at": np.where(by_broker == DefaultRecordBatch.LOG_APPEND_TIME, newest, first + since),
        },
        schema=ROWS,
    )


def _bounds(data: bytes, counts: Sequence[int], contents: Sequence[memoryview]) -> tuple[_Numbers, _Numbers]:
    """Where each record begins, behind its length, and where it ends.

    The only loop over records: where one begins, only the one before it says.
    """
    begin, end = array("q"), array("q")
    at = until = 0
    try:
        for count, content in zip(counts, contents, strict=True):
            until += len(content)
            for _ in range(count):
                length = data[at]
                at += 1
                if length > _ONE_BYTE_MAX:
                    more = data[at]
                    at += 1
                    if more > _ONE_BYTE_MAX:
                        length, at = decode_varint(data, at - 2)
                        length *= 2
                    else:
                        length = length & _ONE_BYTE_MAX | more << 7
                if length < 0 or length & 1:
                    raise _OddError
                begin.append(at)
                at += length >> 1
                end.append(at)
            if at != until:
                raise _OddError
    except (IndexError, ValueError) as error:
        raise _OddError from error
    return np.frombuffer(begin, np.int64), np.frombuffer(end, np.int64)


def _varints(words: _Words, at: _Numbers) -> tuple[_Numbers, _Numbers]:
    """The varints at some places, and the places behind them."""
    word: Any = words[np.minimum(at, len(words) - 1)]
    last = ~word & 0x8080808080808080
    _expect(last != 0)
    # All bits of the bytes up to the first that has no other behind it.
    used = last ^ (last - 1)
    word &= used & 0x7F7F7F7F7F7F7F7F
    # Seven bits of each byte, moved together: in pairs of bytes, then of pairs, then of halves.
    word = (word & 0x007F007F007F007F) | (word & 0x7F007F007F007F00) >> 1
    word = (word & 0x00003FFF00003FFF) | (word & 0x3FFF00003FFF0000) >> 2
    word = (word & 0x000000000FFFFFFF) | (word & 0x0FFFFFFF00000000) >> 4
    number = word.view(np.int64)
    # Every second number is negative: 0, -1, 1, -2, …
    return (number >> 1) ^ -(number & 1), at + (np.bitwise_count(used) >> 3)


def _after_headers(data: bytes, words: _Words, headers: _Numbers, at: _Numbers) -> _Numbers:
    """The places behind so many headers that begin at `at`. They are read for their lengths only."""
    at = at.copy()
    having = np.flatnonzero(headers)
    if having.size:
        # kafka-python refuses names that are not UTF-8; ASCII certainly is.
        foreign = np.flatnonzero(np.frombuffer(data, np.uint8) > _ONE_BYTE_MAX)
    for number in range(_HEADERS_MAX):
        having = having[headers[having] > number]
        if not having.size:
            break
        length, start = _varints(words, at[having])
        stop = start + length
        _expect(length >= 0, np.searchsorted(foreign, start) == np.searchsorted(foreign, stop))
        length, start = _varints(words, stop)
        at[having] = start + np.maximum(length, 0)
    return at


def _values(data: bytes, start: _Numbers, stop: _Numbers, given: NDArray[np.bool_]) -> pl.Series:
    """What lies between these places, without a copy of it; null where nothing was given."""
    # Arrow wants that one value begins where the one before it ends; so every second value is what lies between two of ours.
    places = np.column_stack([start, stop]).ravel()
    both = pa.Array.from_buffers(pa.large_binary(), len(places) - 1, [None, pa.py_buffer(places), pa.py_buffer(data)])
    values = pl.Series(both).gather_every(2)
    return values if given.all() else pl.select(pl.when(pl.Series(given)).then(values)).to_series()


def _expect(*conditions: NDArray[np.bool_]) -> None:
    if not all(condition.all() for condition in conditions):
        raise _OddError
