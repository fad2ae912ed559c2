"""Decoding beside judging: `Decoding` hands large batches to a process of its own.

Within one process, a decoder and an engine wait for Python's lock and for each other's wake-ups more than they gain from a second
processor. Frames cross the border as Arrow's IPC stream, in memory that both processes map: what one has written is what the other
reads, and nothing is copied.
"""

import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Final, NamedTuple, cast

import polars as pl
import pyarrow as pa

from pipeline.decode import Decoder
from pipeline.formats import OUR_OWN, Formats
from pipeline.told import Told, told
from schemas.frames import FACTS

PROCESSES: Final = min(2, (os.cpu_count() or 1) - 1)
"""When two decode, judging is the longer work."""
LARGE_BATCH: Final = 20_000
"""Records from which on a batch is decoded in another process; smaller ones are decoded sooner than sent."""
_UNDER_WAY_MAX: Final = 1 if sys.platform == "darwin" else 2
"""Of one process: while it decodes one batch, the next one is read and handed over. On macOS a descriptor that is sent has to be
acknowledged before anything else is."""
_ALLOCATOR: Final = "dirty_decay_ms:30000,muzzy_decay_ms:30000,oversize_threshold:0"
"""Of Polars there: it keeps the memory of a batch for the next one, large pieces too. Here the facts need the room."""
_ROW: Final = "row"
_LETTERS: Final = "letters"
_ALIGNMENT: Final = 64
"""Where Arrow's buffers begin, bytes."""

_log = logging.getLogger(__name__)


class Decoding:
    """Reads batches as a `Decoder` does: small ones itself, large ones in processes of their own, which the first of these starts.

    As long as these processes are not ready, or if they have ended, all is decoded here. For one thread at a time.

    Args:
        hash_key: See `Decoder`; None: `use_key` tells it, before there is anything to decode.
        formats: See `Decoder`.
        processes: How many.
        records_min: Batches of fewer records are small.

    Attributes:
        beside: Batches so far that other processes have decoded.
        silent: See `Decoder`.
    """

    def __init__(
        self,
        hash_key: bytes | None,
        formats: Formats = OUR_OWN,
        processes: int = PROCESSES,
        records_min: int = LARGE_BATCH,
    ) -> None:
        self.beside = self.silent = 0
        self._formats = formats
        self._processes = processes
        self._records_min = records_min
        self._asides: list[_Aside] = []
        self._told: tuple[bytes, Formats] | None = None
        if hash_key is not None:
            self.use_key(hash_key)

    def use_key(self, hash_key: bytes) -> None:
        """Learn the key."""
        self._told = (hash_key, self._formats)
        self._decoder = Decoder(*self._told)
        self._tell()

    def _tell(self) -> None:
        for aside in self._asides if self._told else ():
            aside.tell(self._told)

    def decode(self, records: pl.DataFrame, until: datetime | None = None) -> Told:
        """Read a batch, see `Decoder.decode`."""
        return self.begin(records, until)()

    def begin(self, records: pl.DataFrame, until: datetime | None = None) -> Callable[[], Told]:
        """Begin to read a batch, and return what waits for the result."""
        if records.height >= self._records_min:
            self.expect(records.height)
            for aside in sorted(self._asides, key=lambda aside: aside.under_way):
                if (answered := aside.begin(records, until)) is not None:
                    return partial(self._decoded_beside, answered, records, until)
        return partial(self._decoded_here, records, until)

    def expect(self, records: int) -> None:
        """Start the processes now, if it is worth it for so many records to come; if not, end those that were started."""
        if records < self._records_min:
            self.close()
            self._asides = []
        elif not self._asides:
            self._asides = [_Aside() for _ in range(self._processes)]
            self._tell()

    @property
    def width(self) -> int:
        """How many batches are best under way at once: one more than there are processes ready, so that none waits for the next."""
        return 1 + sum(aside.is_at_work() for aside in self._asides)

    def close(self) -> None:
        """End the processes."""
        for aside in self._asides:
            aside.close()

    def _decoded_here(self, records: pl.DataFrame, until: datetime | None) -> Told:
        decoded = self._decoder.decode(records, until)
        self.silent += self._decoder.silent
        self._decoder.silent = 0
        return told(decoded)

    def _decoded_beside(
        self, answered: "Callable[[], _Answer | None]", records: pl.DataFrame, until: datetime | None
    ) -> Told:
        answer = answered()
        if answer is None:  # killed, or broken by what it was given: then that comes to light here
            return self._decoded_here(records, until)
        self.beside += 1
        self.silent += answer.silent
        facts = {table: answer.frames[table] for table in FACTS if table in answer.frames}
        rows = {table: frame[_ROW] for table, frame in facts.items()}
        facts = {table: _completed(frame, FACTS[table]) for table, frame in facts.items()}
        return Told(facts, answer.frames[_LETTERS], records, rows)


class _Answer(NamedTuple):
    """What the other process tells of a batch.

    Attributes:
        frames: Its facts by table, with the `_ROW` that told each, but without columns that are null throughout; and `_LETTERS`.
        silent: How many records tell nothing.
    """

    frames: Mapping[str, pl.DataFrame]
    silent: int


class _Aside:
    """Another process, from here. It has one batch at work and the next one waiting, each in memory of its own.

    Attributes:
        under_way: How many batches it has been given that nobody has the answer of.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._arenas = [_Arena(_memory()) for _ in range(_UNDER_WAY_MAX)]
        with theirs:
            shared = (theirs.fileno(), *(arena.descriptor for arena in self._arenas))
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", __name__, *map(str, shared)],
                pass_fds=shared,
                # What is imported here, and not what lies in the folder that the user works in.
                env={**os.environ, "_RJEM_MALLOC_CONF": _ALLOCATOR, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us
            )
        self._connection = Connection(ours.detach())
        self._is_ready = self._has_ended = False
        self.under_way = self._begun = 0
        self._answers: dict[int, _Answer] = {}

    def tell(self, told: object) -> None:
        """Tell it what a `Decoder` must be told, once."""
        with suppress(OSError):  # that it has ended shows when it should be ready
            self._connection.send(told)

    def begin(self, records: pl.DataFrame, until: datetime | None) -> "Callable[[], _Answer | None] | None":
        """Give it a batch, if it is ready and has room; return what waits for its answer, which is None if it has ended."""
        if not self.is_at_work() or self.under_way == _UNDER_WAY_MAX:
            return None
        number = self._begun
        try:
            size = self._arenas[number % _UNDER_WAY_MAX].write(records)
        except (pa.ArrowException, OSError) as error:  # columns of a table that cannot go over, or no memory
            _log.debug("a batch is decoded here: %s", error)
            return None
        with self._watched():
            self._connection.send((number % _UNDER_WAY_MAX, size, until))
            self._begun += 1
            self.under_way += 1
            return partial(self._answer, number)
        return None

    def is_at_work(self) -> bool:
        """Whether it is ready, and has not ended as far as is known."""
        if not (self._is_ready or self._has_ended) and self._connection.poll():
            with self._watched():
                self._connection.recv()
                self._is_ready = True
        return self._is_ready and not self._has_ended

    def _answer(self, number: int) -> _Answer | None:
        """Wait for what it makes of its batch `number`; whoever waits for an earlier one finds it ready."""
        while number not in self._answers and not self._has_ended:
            with self._watched():
                self._answers[self._begun - self.under_way] = _Answer(
                    _receive(self._connection), self._connection.recv()
                )
                self.under_way -= 1
        return self._answers.pop(number, None)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Say it once when the process has ended."""
        try:
            yield
        except (EOFError, OSError) as error:
            if not self._has_ended:
                _log.warning("a decoding process has ended (%r): decoding goes on without it, more slowly", error)
            self._has_ended = True

    def close(self) -> None:
        """End it."""
        self._has_ended = True  # who still waits for an answer, in another thread, need not be told
        self._connection.close()
        for arena in self._arenas:
            arena.close()
        self._process.kill()  # whatever it is at, nobody waits for it
        self._process.wait()


# ------------------------------------------------------------------------------------------------- frames across the border


class _Arena:
    """Memory that both processes map, for one frame after the other: what has been touched once costs little from then on."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._mapped: mmap.mmap | bytes = b""

    def write(self, frame: pl.DataFrame) -> int:
        """Write a frame over the one before, which nobody reads any more; return how many bytes it has.

        What texts view is written whole, so it should have little else in it.
        """
        table = frame.to_arrow(compat_level=pl.CompatLevel.newest())
        measured = pa.MockOutputStream()
        _stream(table, measured)
        size: int = measured.size()
        if size > len(self._mapped):
            # With room for somewhat larger ones: to map all of it again takes a fault for each page, here and there.
            os.ftruncate(self.descriptor, 2 * size)
            self._mapped = mmap.mmap(self.descriptor, 2 * size)
        _stream(table, pa.FixedSizeBufferWriter(pa.py_buffer(self._mapped)))
        return size

    def read(self, size: int) -> pl.DataFrame:
        """Read the frame, without a copy of it."""
        if size > len(self._mapped):
            self._mapped = mmap.mmap(self.descriptor, 0)
        return _read(self._mapped)

    def close(self) -> None:
        """Let go of it; what was read stays until nobody holds it any more."""
        os.close(self.descriptor)


def _stream(table: pa.Table, sink: pa.NativeFile) -> None:
    with sink, pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)


def _read(data: mmap.mmap | bytes | pa.Buffer) -> pl.DataFrame:
    table = pa.ipc.open_stream(data if isinstance(data, pa.Buffer) else pa.py_buffer(data)).read_all()
    return cast("pl.DataFrame", pl.from_arrow(table, rechunk=False))


def _send(connection: Connection, frames: Mapping[str, pl.DataFrame]) -> None:
    """Send frames in memory of their own."""
    places = {}
    with os.fdopen(_memory(), "wb") as file:
        for name, frame in frames.items():
            places[name] = file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
            frame.write_ipc_stream(file, compat_level=pl.CompatLevel.newest())
        file.flush()
        connection.send(places)
        send_handle(connection, file.fileno(), None)


def _receive(connection: Connection) -> dict[str, pl.DataFrame]:
    places = connection.recv()
    descriptor = recv_handle(connection)
    try:
        # Unmapped, and given back, when nobody holds any of its columns any more.
        mapped = pa.py_buffer(mmap.mmap(descriptor, os.fstat(descriptor).st_size, prot=mmap.PROT_READ))
    finally:
        os.close(descriptor)
    return {name: _read(mapped.slice(place)) for name, place in places.items()}


def _memory() -> int:
    if hasattr(os, "memfd_create"):  # /dev/shm may have no more than 64 MB
        return os.memfd_create("frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _completed(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Put back the columns that were null throughout, and leave out what is none."""
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in frame.columns]
    return frame.with_columns(absent).select(schema.names())


# --------------------------------------------------------------------------------------------------------- the other process


def _serve(connection: Connection, arenas: Sequence[_Arena]) -> None:
    """Decode what comes, until the other end is closed."""
    decoder = Decoder(*connection.recv())
    connection.send("ready")
    while True:
        number, size, until = connection.recv()
        answer = told(decoder.decode(arenas[number].read(size), until))
        frames = {
            table: _without_nulls(facts).with_columns(answer.rows[table].alias(_ROW))
            for table, facts in answer.facts.items()
        }
        _send(connection, {**frames, _LETTERS: answer.letters})
        connection.send(decoder.silent)
        decoder.silent = 0


def _without_nulls(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(column for column in frame if column.null_count() < frame.height)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # also sent to all processes of a service
        signal.signal(number, signal.SIG_IGN)
    with suppress(EOFError, ConnectionError):
        _serve(Connection(int(sys.argv[1])), [_Arena(int(descriptor)) for descriptor in sys.argv[2:]])
