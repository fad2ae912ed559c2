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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, Final, NamedTuple, cast

import polars as pl
import pyarrow as pa

from pipeline.decode import Decoded, Decoder
from pipeline.formats import OUR_OWN, Formats
from schemas.frames import EVENTS

PROCESSES: Final = 2 if (os.cpu_count() or 1) > 1 else 0
"""With two, judging is the longer work."""
_RECORDS_MIN: Final = 20_000
_END_SECONDS_MAX: Final = 5.0

_log = logging.getLogger(__name__)


class Decoding:
    """Reads batches as a `Decoder` does: small ones itself, large ones in processes of their own, which the first of these starts.

    As long as these processes are not ready, or if they have ended, all is decoded here. For one thread at a time.

    Args:
        hash_key: See `Decoder`.
        formats: See `Decoder`.
        processes: How many.
        records_min: Batches of fewer records are small: they are decoded sooner than sent.

    Attributes:
        beside: Batches so far that other processes have decoded.
        silent: See `Decoder`.
        width: How many batches are best under way at once.
    """

    def __init__(
        self,
        hash_key: bytes,
        formats: Formats = OUR_OWN,
        processes: int = PROCESSES,
        records_min: int = _RECORDS_MIN,
    ) -> None:
        self.beside = self.silent = 0
        self.width = max(1, processes)
        self._decoder = Decoder(hash_key, formats)
        self._told = (hash_key, formats)
        self._processes = processes
        self._records_min = records_min
        self._asides: list[_Aside] = []

    def decode(self, records: pl.DataFrame, until: datetime | None = None) -> Decoded:
        """Read a batch, see `Decoder.decode`."""
        return self.begin(records, until)()

    def begin(self, records: pl.DataFrame, until: datetime | None = None) -> Callable[[], Decoded]:
        """Begin to read a batch, and return what waits for the result."""
        if records.height >= self._records_min:
            self.expect(records.height)
            for aside in self._asides:
                if aside.begin(records, until):
                    return partial(self._decoded_beside, aside, records, until)
        return partial(self._decoded_here, records, until)

    def expect(self, records: int) -> None:
        """Start the processes now, if it is worth it for so many records to come."""
        if records >= self._records_min and not self._asides:
            self._asides = [_Aside(*self._told) for _ in range(self._processes)]

    def close(self) -> None:
        """End the processes."""
        for aside in self._asides:
            aside.close()

    def _decoded_here(self, records: pl.DataFrame, until: datetime | None) -> Decoded:
        decoded = self._decoder.decode(records, until)
        self.silent += self._decoder.silent
        self._decoder.silent = 0
        return decoded

    def _decoded_beside(self, aside: "_Aside", records: pl.DataFrame, until: datetime | None) -> Decoded:
        told = aside.told()
        if told is None:  # killed, or broken by what it was given: then that comes to light here
            return self._decoded_here(records, until)
        self.beside += 1
        self.silent += told.silent
        return Decoded(_completed(told.events), told.letters, records, told.events["row"])


class _Told(NamedTuple):
    """What a batch told.

    Attributes:
        events: `EVENTS`, but columns that are null throughout; and `row`, of which record.
        letters: `LETTERS`.
        silent: How many records tell nothing.
    """

    events: pl.DataFrame
    letters: pl.DataFrame
    silent: int


class _Aside:
    """Another process, from here. It has one batch at a time."""

    def __init__(self, *told: Any) -> None:
        ours, theirs = socket.socketpair()
        self._records = _Arena(_memory())
        with theirs:
            shared = (theirs.fileno(), self._records.descriptor)
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", __name__, *map(str, shared)],
                pass_fds=shared,
                # What is imported here, and not what lies in the folder that the user works in.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us
            )
        self._connection = Connection(ours.detach())
        self._starting, self._idle = True, False
        with suppress(OSError):  # that it has ended shows when it should be ready
            self._connection.send(told)

    def is_idle(self) -> bool:
        """Whether it has started, and has nothing to do. One that has ended is never idle."""
        if self._starting and self._connection.poll():
            self._starting = False
            with self._watched():
                self._connection.recv()
                self._idle = True
        return self._idle

    def begin(self, records: pl.DataFrame, until: datetime | None) -> bool:
        """Give it a batch, if it is idle; returns whether it has taken it."""
        if not self.is_idle():
            return False
        self._idle = False
        with self._watched():
            self._connection.send((self._records.write(records), until))
            return True
        return False

    def told(self) -> _Told | None:
        """Wait for what it makes of its batch; None if it has ended."""
        with self._watched():
            told = _Told(_receive(self._connection), _receive(self._connection), self._connection.recv())
            self._idle = True
            return told
        return None

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Say it once when the process has ended."""
        try:
            yield
        except (EOFError, OSError) as error:
            _log.warning("a decoding process has ended (%r): decoding goes on without it, more slowly", error)

    def close(self) -> None:
        """End it."""
        self._connection.close()
        self._records.close()
        try:
            self._process.wait(_END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
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
            os.ftruncate(self.descriptor, size)
            self._mapped = mmap.mmap(self.descriptor, size)
        _stream(table, pa.FixedSizeBufferWriter(pa.py_buffer(self._mapped)))
        return size

    def read(self, size: int) -> pl.DataFrame:
        """Read the frame, without a copy of it."""
        if size > len(self._mapped):
            self._mapped = mmap.mmap(self.descriptor, size)
        return _read(self._mapped)

    def close(self) -> None:
        """Let go of it; what was read stays until nobody holds it any more."""
        os.close(self.descriptor)


def _stream(table: pa.Table, sink: pa.NativeFile) -> None:
    with sink, pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)


def _read(mapped: mmap.mmap | bytes) -> pl.DataFrame:
    table = pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()
    return cast("pl.DataFrame", pl.from_arrow(table, rechunk=False))


def _send(connection: Connection, frame: pl.DataFrame) -> None:
    """Send a frame in memory of its own."""
    with os.fdopen(_memory(), "wb") as file:
        frame.write_ipc_stream(file, compat_level=pl.CompatLevel.newest())
        file.flush()
        send_handle(connection, file.fileno(), None)


def _receive(connection: Connection) -> pl.DataFrame:
    descriptor = recv_handle(connection)
    try:
        # Unmapped, and given back, when nobody holds any of its columns any more.
        return _read(mmap.mmap(descriptor, os.fstat(descriptor).st_size, prot=mmap.PROT_READ))
    finally:
        os.close(descriptor)


def _memory() -> int:
    if hasattr(os, "memfd_create"):  # /dev/shm may have no more than 64 MB
        return os.memfd_create("frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _completed(events: pl.DataFrame) -> pl.DataFrame:
    """Make `EVENTS` of what a process told."""
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in EVENTS.items() if name not in events.columns]
    return events.with_columns(absent).select(EVENTS.names())


# --------------------------------------------------------------------------------------------------------- the other process


def _serve(connection: Connection, arena: _Arena) -> None:
    """Decode what comes, until the other end is closed."""
    decoder = Decoder(*connection.recv())
    connection.send("ready")
    while True:
        size, until = connection.recv()
        decoded = decoder.decode(arena.read(size), until)
        events = decoded.events.select(
            name for name in EVENTS if decoded.events[name].null_count() < decoded.events.height
        )
        _send(connection, events.with_columns(decoded.rows.alias("row")))
        _send(connection, decoded.letters)
        connection.send(decoder.silent)
        decoder.silent = 0


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # also sent to all processes of a service
        signal.signal(number, signal.SIG_IGN)
    with suppress(EOFError, ConnectionError):
        _serve(Connection(int(sys.argv[1])), _Arena(int(sys.argv[2])))
