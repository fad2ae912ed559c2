"""Events in files: NDJSON (plain, gzip, zstd), Parquet and standard input, as batches of records.

Lines are found with numpy in chunks of a few megabytes and handed over as views into those chunks, so that reading costs little
more than the memory traffic. What a line means is not looked at here.
"""

import mmap
import os
import sys
import weakref
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from crc32c import crc32c
from numpy.typing import NDArray

from pipeline.store import Offset
from pipeline.tables import GIVEN, json_rows
from schemas.frames import RECORDS, TIME

BATCH_RECORDS_MAX: Final = 65_536
BATCH_BYTES_MAX: Final = 64 << 20
"""A batch ends with the first chunk that takes it beyond this."""
_FIRST_BATCH_SHARE: Final = 8
"""The first batch of a file has so much less, and each may be twice the one before: judging need not wait long for it."""
LINE_BYTES_MAX: Final = 64 << 20
"""A longer line is cut here. `CUT_MARK` is put behind what is left, which makes sure that it is no valid event."""
CUT_MARK: Final = b" [cut: the line is longer than 64 MiB]"
STDIN: Final = "-"

_CHUNK_BYTES: Final = 4 << 20
_SEARCH_BYTES: Final = 256 << 10
_COMPRESSED_BYTES: Final = 8 << 10
"""Compressed bytes per step. Small, since the worst of them expand 30,000 times."""
_INLINE_BYTES: Final = 12
"""Arrow keeps values up to this length in the view itself."""
_BOM: Final = b"\xef\xbb\xbf"
_WHITESPACE: Final = 32
_PARQUET_MAGIC: Final = b"PAR1"
_LINE_SUFFIXES: Final = (".ndjson", ".jsonl", ".json")
_SUFFIXES: Final = (*(line + packed for line in _LINE_SUFFIXES for packed in ("", ".gz", ".zst")), ".parquet")

Ints = NDArray[np.int64]
Chunk = bytes | memoryview
_Piece = TypeVar("_Piece", bytes, memoryview)


class FileSourceError(Exception):
    """A file that cannot be read, or not to its end; the message is one line that names it and says what to do."""


class FileBatch(NamedTuple):
    """The next records of a file.

    `records` has the columns of `RECORDS`, in the file's order; it is empty when there was nothing but blank lines. Tables of
    events have a column `GIVEN` instead of values, see `pipeline.tables`.
    `offset` is where to go on after them: how many lines (NDJSON, blank ones counted) or rows (Parquet) have been read.
    """

    records: pl.DataFrame
    offset: Offset


class FileReader(ABC):
    """One file, read once from its beginning or from where an earlier reader stopped.

    Attributes:
        name: The file's absolute path, or `-`: the `source` of its records.
        size: Its bytes on disk; 0 when not known (standard input).
        bytes_read: How many of these have been read, for a progress bar.
        changed: Whether `resume` found another file than the one read before, so that it is read from its beginning.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.bytes_read = 0
        self.changed = False
        self._resume_at: Offset | None = None

    def resume(self, offset: Offset) -> None:
        """Go on at `offset` instead of the beginning. Only before the first `read`.

        What is before it is read again and compared with the offset's checksum. If the file was changed there, it is read from
        its beginning: facts that are known already change nothing.
        """
        self._resume_at = offset

    @abstractmethod
    def read(self) -> FileBatch | None:
        """Return the next batch, or None at the end.

        Raises:
            FileSourceError: The file cannot be read any further. Everything before the damage has been returned already.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file early. At the end it is closed by itself."""


def open_readers(paths: Sequence[str | Path], batch_records_max: int = BATCH_RECORDS_MAX) -> list[FileReader]:
    """Return a reader for every file of `paths`, once each: files as given, folders searched through in order of name.

    In a folder, hidden files and files of other kinds are passed over. `-` is standard input, as NDJSON.

    Raises:
        FileSourceError: A path is missing, cannot be read, is of an unknown kind, or is a folder without any event file.
    """
    names = dict.fromkeys(name for path in paths for name in _files_of(str(path)))
    return [_open_reader(name, batch_records_max) for name in names]


def _files_of(path: str) -> list[str]:
    if path == STDIN:
        return [STDIN]
    # Not resolved: a link is known by the name that the user gave it.
    here = Path(path).absolute()
    with _system_errors_of(path):
        if not here.is_dir():
            here.stat()
            return [str(here)]
        found = sorted(map(str, _event_files(here)))
    if not found:
        raise FileSourceError(f"{path}: no event file in this folder; their names end in {_suffix_list()}")
    return found


def _event_files(here: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(here, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            Path(folder, name) for name in names if not name.startswith(".") and name.lower().endswith(_SUFFIXES)
        )


def _raise(error: OSError) -> None:
    raise error


def _suffix_list() -> str:
    return f"{', '.join(_LINE_SUFFIXES)} (also with .gz or .zst) or .parquet"


def _open_reader(name: str, batch_records_max: int) -> FileReader:
    if name == STDIN:
        return LineReader(name, batch_records_max)
    if not name.lower().endswith(_SUFFIXES):
        raise FileSourceError(f"{name}: not a kind of event file; rename it so that it ends in {_suffix_list()}")
    if not os.access(name, os.R_OK):
        raise FileSourceError(f"{name}: no permission to read it; change its permissions, or run as another user")
    if name.lower().endswith(".parquet"):
        return ParquetReader(name, batch_records_max)
    return LineReader(name, batch_records_max)


@contextmanager
def _system_errors_of(name: str) -> Iterator[None]:
    """Turn the system's errors into one line."""
    try:
        yield
    except OSError as error:
        raise FileSourceError(f"{name}: {error.strerror or error}; check the path and its permissions") from error


# ------------------------------------------------------------------------------------------------------------------- NDJSON


class _Block(NamedTuple):
    """One or more lines that lie behind one another in `data`: line i is `data[starts[i]:stops[i]]`, then comes its newline.

    Only the last line of a file may lack it, and then is not empty: `data` never is.
    """

    data: Chunk
    starts: Ints
    stops: Ints

    def rows(self, start: int, stop: int) -> "_Block":
        return _Block(self.data, self.starts[start:stop], self.stops[start:stop])

    def checksum(self, before: int) -> int:
        """The checksum of the lines with their newlines, going on from that of what came before."""
        return crc32c(memoryview(self.data)[self.starts[0] : self.stops[-1] + 1], before)


class LineReader(FileReader):
    """Lines of a file or of standard input. Blank ones are left out, but count as lines."""

    def __init__(self, name: str, batch_records_max: int = BATCH_RECORDS_MAX) -> None:
        with _system_errors_of(name):
            super().__init__(name, 0 if name == STDIN else Path(name).stat().st_size)
        self._batch_records_max = batch_records_max
        self._batch_bytes = BATCH_BYTES_MAX // _FIRST_BATCH_SHARE
        self._memory = _Memory()
        self._rewind()

    def read(self) -> FileBatch | None:
        """See `FileReader.read`."""
        if self._resume_at is not None:
            self._skip(self._resume_at)
            self._resume_at = None
        first = self._line
        lines = list(self._take(self._batch_records_max, self._batch_bytes))
        self._batch_bytes = min(2 * self._batch_bytes, BATCH_BYTES_MAX)
        if not lines:
            if self._failure is not None:
                raise self._failure
            return None
        return FileBatch(self._records(lines, first), Offset(self._line, self._checksum))

    def close(self) -> None:
        """See `FileReader.close`."""
        self._blocks.close()

    def _rewind(self) -> None:
        self._blocks = self._read_blocks()
        self._rest: _Block | None = None
        self._line = 0
        self._checksum = 0
        self._failure: FileSourceError | None = None

    def _skip(self, offset: Offset) -> None:
        for _ in self._take(offset.position, None):
            pass
        if (self._line, self._checksum) != (offset.position, offset.checksum):
            self.changed = True
            self._rewind()

    def _take(self, lines_max: int, bytes_max: int | None) -> Iterator[_Block]:
        """Consume up to so many lines; fewer only at the end, at damage, or where `bytes_max` is passed."""
        line_max = self._line + lines_max
        taken = 0
        while self._line < line_max and (bytes_max is None or taken < bytes_max):
            block = self._rest or self._next_block()
            if block is None:
                return
            count = min(len(block.starts), line_max - self._line)
            self._rest = block.rows(count, len(block.starts)) if count < len(block.starts) else None
            block = block.rows(0, count)
            self._line += count
            self._checksum = block.checksum(self._checksum)
            taken += int(block.stops[-1] - block.starts[0])
            yield block

    def _next_block(self) -> _Block | None:
        """Return the next block, or None at the end; damage is the end too, and told once everything before it is taken."""
        try:
            return next(self._blocks, None)
        except FileSourceError as error:
            self._failure = error
            return None

    def _read_blocks(self) -> Generator[_Block]:
        """Cut the file into blocks: the whole lines of a chunk, and by itself each line that reaches across chunks."""
        begun = _Line()
        for chunk in self._chunks():
            newlines = _newlines(chunk)
            if not len(newlines):
                begun.add(chunk, 0, len(chunk))
                continue
            begun.add(chunk, 0, int(newlines[0]))
            yield _line_block(begun.finish() + b"\n")
            if len(newlines) > 1:
                yield _Block(chunk, newlines[:-1] + 1, newlines[1:])
            begun.add(chunk, int(newlines[-1]) + 1, len(chunk))
        if last := begun.finish():
            yield _line_block(last)

    def _chunks(self) -> Iterator[Chunk]:
        """Read the uncompressed bytes in chunks, without the byte order mark."""
        self.bytes_read = 0
        with _system_errors_of(self.name), self._opened() as file:
            chunks = self._unpacked(file)
            if first := next(chunks, b""):
                yield first[len(_BOM) :] if first[: len(_BOM)] == _BOM else first
            yield from chunks

    def _opened(self) -> AbstractContextManager[BufferedIOBase]:
        return (
            nullcontext(cast("BufferedIOBase", sys.stdin.buffer)) if self.name == STDIN else Path(self.name).open("rb")
        )

    def _unpacked(self, file: BufferedIOBase) -> Iterator[Chunk]:
        suffix = Path(self.name).suffix.lower()
        if suffix == ".gz":
            return _joined(self._expanded(file, lambda: zlib.decompressobj(wbits=31), "gzip"))
        if suffix == ".zst":
            return _joined(self._expanded(file, lambda: zstandard.ZstdDecompressor().decompressobj(), "zstd"))
        return self._counted(partial(self._memory.read, file))

    def _counted(self, read: Callable[[], _Piece]) -> Iterator[_Piece]:
        while chunk := read():
            self.bytes_read += len(chunk)
            yield chunk

    def _expanded(self, file: BufferedIOBase, new: "Callable[[], _Unpacker]", kind: str) -> Iterator[bytes]:
        """Unpack a file of one or more members (gzip) or frames (zstd)."""
        unpacker: _Unpacker | None = None
        try:
            for chunk in self._counted(partial(file.read, _COMPRESSED_BYTES)):
                packed = chunk
                while packed:
                    # Tapes and block devices leave zeros behind the last member.
                    packed = packed.lstrip(b"\0") if unpacker is None else packed
                    unpacker = unpacker or (new() if packed else None)
                    if unpacker is None:
                        break
                    yield unpacker.decompress(packed)
                    packed = unpacker.unused_data
                    unpacker = None if unpacker.eof else unpacker
        except (zlib.error, zstandard.ZstdError) as error:
            raise FileSourceError(
                f"{self.name}: damaged, or no {kind} file, near byte {self.bytes_read}: get it again, or unpack it by hand"
            ) from error
        if unpacker is not None:
            raise FileSourceError(
                f"{self.name}: ends in the middle of its {kind} data: get the rest of it, then replay it again"
            )

    def _records(self, blocks: Sequence[_Block], first: int) -> pl.DataFrame:
        views = np.concatenate([_views(block, index) for index, block in enumerate(blocks)])
        kept = np.concatenate([~_blank(block) for block in blocks])
        lines = np.arange(first + 1, first + 1 + len(views))[kept]
        buffers = [None, pa.py_buffer(views[kept]), *(pa.py_buffer(block.data) for block in blocks)]
        values = pa.Array.from_buffers(pa.binary_view(), len(lines), buffers)
        return _frame(values, self.name, lines)


class _Memory:
    """Memory for chunks, used again when nobody holds what was read into it: to touch new memory costs more than to read.

    It begins with a page of its own, as pages of files do: where it lies 16 bytes behind, copying takes three times as long.
    """

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []

    def read(self, file: BufferedIOBase) -> memoryview:
        """Read a chunk; at the end it is empty."""
        memory = self._free.pop() if self._free else mmap.mmap(-1, _CHUNK_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        lent = np.frombuffer(memory, np.uint8)  # every view of the chunk holds this
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return lent.data[: file.readinto(lent.data)]


class _Unpacker(Protocol):
    """What the decompressors of zlib and zstandard have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Line:
    """A line that has begun in one chunk and goes on in the next; never more of it than `LINE_BYTES_MAX`."""

    def __init__(self) -> None:
        self._parts: list[Chunk] = []
        self._size = 0

    def add(self, chunk: Chunk, start: int, stop: int) -> None:
        """Take up the line's next bytes."""
        room = LINE_BYTES_MAX - min(self._size, LINE_BYTES_MAX)
        if room and stop > start:
            self._parts.append(chunk[start : min(stop, start + room)])
        self._size += stop - start

    def finish(self) -> bytes:
        """Return the line, and begin the next one."""
        line = b"".join(self._parts) + (CUT_MARK if self._size > LINE_BYTES_MAX else b"")
        self._parts.clear()
        self._size = 0
        return line


def _line_block(line: bytes) -> _Block:
    return _Block(line, np.array([0]), np.array([len(line.removesuffix(b"\n"))]))


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces to chunks. At an error, what came before it is handed on first."""
    parts: list[bytes] = []
    size = 0
    try:
        for piece in pieces:
            parts.append(piece)
            size += len(piece)
            if size >= _CHUNK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
    except FileSourceError:
        yield b"".join(parts)
        raise
    yield b"".join(parts)


def _newlines(chunk: Chunk) -> Ints:
    """The positions of the newlines, searched in pieces that stay in the processor's cache."""
    data = np.frombuffer(chunk, np.uint8)
    hits = np.empty(min(len(data), _SEARCH_BYTES), bool)
    found = [
        np.flatnonzero(np.equal(piece, ord("\n"), out=hits[: len(piece)])) + start
        for start in range(0, len(data), _SEARCH_BYTES)
        if len(piece := data[start : start + _SEARCH_BYTES])
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _views(block: _Block, index: int) -> NDArray[np.int32]:
    """Describe the lines, without a carriage return at their end, as Arrow's 16-byte views into buffer number `index`."""
    data = np.frombuffer(block.data, np.uint8)
    starts, lengths = block.starts, block.stops - block.starts
    lengths = lengths - ((lengths > 0) & (data[block.stops - 1] == ord("\r")))
    views = np.zeros((len(starts), 4), np.int32)
    views[:, 0] = lengths
    long = lengths > _INLINE_BYTES
    if long.any():
        # The first four bytes of a value stand in its view: read them as overlapping integers at every byte.
        words = np.ndarray(len(data) - 3, np.int32, block.data, strides=(1,))
        views[long, 1] = words[starts[long]]
        views[long, 2] = index
        views[long, 3] = starts[long]
    if not long.all():
        reach = np.arange(_INLINE_BYTES)
        where = np.minimum(starts[~long, None] + reach, len(data) - 1)
        views.view(np.uint8)[~long, 4:] = np.where(reach < lengths[~long, None], data[where], 0)
    return views


def _blank(block: _Block) -> NDArray[np.bool_]:
    """Return which lines hold nothing but white space."""
    data = np.frombuffer(block.data, np.uint8)
    # An event begins with a brace, so the loop has hardly anything to do.
    maybe = data[block.starts] <= _WHITESPACE
    for row in np.flatnonzero(maybe):
        maybe[row] = not bytes(block.data[block.starts[row] : block.stops[row]]).strip()
    return maybe


def _frame(values: pa.Array, name: str, positions: Ints) -> pl.DataFrame:
    return pl.DataFrame(
        [
            pl.Series("value", values, dtype=pl.Binary()),
            pl.repeat(name, len(positions), dtype=pl.String(), eager=True).alias("source"),
            pl.Series("position", positions, dtype=pl.Int64()),
            pl.repeat(None, len(positions), dtype=TIME, eager=True).alias("recorded_at"),
        ],
        schema=RECORDS,
    )


# ------------------------------------------------------------------------------------------------------------------ Parquet


class ParquetReader(FileReader):
    """Rows of a Parquet file, in their order.

    Two shapes are understood: a column `value` that holds each event as JSON (a dump of a topic), or columns named like the
    fields of events, which are handed over as they are. The offset's checksum is that of the file's footer.
    """

    def __init__(self, name: str, batch_records_max: int = BATCH_RECORDS_MAX) -> None:
        with _system_errors_of(name):
            super().__init__(name, Path(name).stat().st_size)
            self._checksum = crc32c(_footer(name))
        with self._damage():
            self._file = pq.ParquetFile(name)
            self._rows = self._file.metadata.num_rows
            self._reading = _reading(name, self._file.schema_arrow)
        packed = sum(self._file.metadata.row_group(i).total_byte_size for i in range(self._file.num_row_groups))
        self._bytes_per_row = self.size / max(self._rows, 1)
        self._batch_rows = max(1, min(batch_records_max, BATCH_BYTES_MAX * self._rows // max(packed, 1)))
        self._row = 0
        self._batches: Iterator[pa.RecordBatch] | None = None

    def read(self) -> FileBatch | None:
        """See `FileReader.read`."""
        with self._damage():
            if self._batches is None:
                self._batches = self._read_batches()
            batch = next(self._batches, None)
            if batch is None:
                self._file.close()
                return None
            values = self._reading(batch)
        rows = np.arange(self._row, self._row + len(values))
        self._row += len(values)
        self.bytes_read = round(self._row * self._bytes_per_row)
        # Without JSON, `value` is null, and made of what was given only where it is needed.
        records = _frame(
            values if values.name == "value" else pl.repeat(None, len(rows), dtype=pl.Binary(), eager=True),
            self.name,
            rows,
        )
        return FileBatch(records.with_columns(values), Offset(self._row, self._checksum))

    def close(self) -> None:
        """See `FileReader.close`."""
        self._file.close()

    def _read_batches(self) -> Iterator[pa.RecordBatch]:
        """Read from where to go on, without the row groups before it."""
        skipped = 0
        if self._resume_at is not None:
            self.changed = self._resume_at.checksum != self._checksum or self._resume_at.position > self._rows
            skipped = 0 if self.changed else self._resume_at.position
        self._row = skipped
        groups = list(range(self._file.num_row_groups))
        while groups and skipped >= (size := self._file.metadata.row_group(groups[0]).num_rows):
            skipped -= size
            del groups[0]
        for batch in self._file.iter_batches(self._batch_rows, row_groups=groups):
            if skipped < len(batch):
                yield batch.slice(skipped)
            skipped = max(0, skipped - len(batch))

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise FileSourceError(f"{self.name}: not readable as Parquet ({reason}): write or copy it again") from error


def _footer(name: str) -> bytes:
    """Return the bytes that describe the file. They hold its statistics and sizes: another content has other ones."""
    tail = len(_PARQUET_MAGIC) + 4
    with Path(name).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - tail))
        end = file.read()
        length = int.from_bytes(end[:4], "little") + tail
        if not end.endswith(_PARQUET_MAGIC) or length > size:
            raise FileSourceError(f"{name}: not a Parquet file, or cut off: write or copy it again")
        file.seek(size - length)
        return file.read()


def _reading(name: str, schema: pa.Schema) -> Callable[[pa.RecordBatch], pl.Series]:
    """Return how a batch of this file becomes a column of records: `value`, or `GIVEN`."""
    if "type" in schema.names:
        in_utc = pa.schema([field.with_type(_in_utc(field.type)) for field in schema])
        return lambda batch: _given(batch.cast(in_utc))
    if "value" in schema.names:
        return lambda batch: pl.Series("value", batch.column("value")).cast(pl.Binary())
    raise FileSourceError(
        f"{name}: neither a column `value` with the events as JSON, nor a column `type` and further ones named like their "
        f"fields; found {', '.join(schema.names[:10]) or 'no column'}"
    )


def _given(batch: pa.RecordBatch) -> pl.Series:
    """Hand rows over as they are; as JSON if a text is not UTF-8, which only the reader of JSON can tell of a row."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        return json_rows(pl.DataFrame(batch))
    return pl.DataFrame(batch).to_struct(GIVEN)


def _in_utc(kind: pa.DataType) -> pa.DataType:
    """Return the type with all zones UTC: the same instants, without the zone names that Polars does not know."""
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pa.timestamp(kind.unit, "UTC")
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_in_utc(field.type)) for field in kind])
    return kind
