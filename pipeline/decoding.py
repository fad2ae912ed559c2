"""The decoder in a process of its own, so that reading the next batch and judging the last one use two cores.

In a thread it would take turns with the engine: both hold Python's lock for much of their time, and share one pool of Polars
threads. Frames cross the pipe as Arrow IPC, which costs less than a tenth of decoding them.
"""

import signal
from datetime import datetime
from io import BytesIO
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, Self

import polars as pl

from pipeline.decode import Decoded, Decoder

_CLOSE_SECONDS_MAX: Final = 5.0


class DecodingError(RuntimeError):
    """The process that decodes is gone."""


class DecodingProcess:
    """A `Decoder` elsewhere: the same `decode`, for one thread at a time.

    Attributes:
        handed_over: As of `Decoder`.
    """

    def __init__(self, hash_key: bytes) -> None:
        """Start the process; it gets ready while the caller goes on."""
        self.handed_over = 0
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, hash_key), name="decoder", daemon=True)
        self._process.start()
        theirs.close()

    def decode(self, records: pl.DataFrame, until: datetime | None = None) -> Decoded:
        """See `Decoder.decode`.

        Raises:
            DecodingError: The process has ended, or failed; its own message is on standard error.
        """
        try:
            self._connection.send(until)
            _send(self._connection, records)
            self.handed_over = self._connection.recv()
            return Decoded(_receive(self._connection), _receive(self._connection))
        except (EOFError, OSError) as error:
            message = "the decoding process has ended (out of memory?); run the same command again to go on"
            raise DecodingError(message) from error

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(_CLOSE_SECONDS_MAX)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


AnyDecoder = Decoder | DecodingProcess
"""Whatever decodes batches: here or elsewhere."""


def _serve(connection: Connection, hash_key: bytes) -> None:
    """Decode what comes, until the other end of the pipe is closed, by will or by death."""
    # Signals go to the whole group; when to stop is the other process's decision.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    decoder = Decoder(hash_key)
    try:
        while True:
            until = connection.recv()
            decoded = decoder.decode(_receive(connection), until)
            connection.send(decoder.handed_over)
            _send(connection, decoded.events)
            _send(connection, decoded.letters)
    except (EOFError, OSError):
        return


def _send(connection: Connection, frame: pl.DataFrame) -> None:
    buffer = BytesIO()
    frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.newest())
    connection.send_bytes(buffer.getbuffer())


def _receive(connection: Connection) -> pl.DataFrame:
    return pl.read_ipc_stream(connection.recv_bytes())
