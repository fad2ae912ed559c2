"""Queries to a database while this process writes it: a Unix socket beside the file, for its owner alone.

`<db>.sock` has mode 0600, so whoever may ask could as well open the file; nothing listens on a network. A conversation is one
line of JSON (`sql`, `timezone`, `seconds_max`), then, while the query runs, an empty line every second, then one line of JSON
(`error`, or `bytes`) and so many bytes of Arrow IPC stream. Who hangs up ends the query.

A query sees all that is committed, and nothing else. It must not harm the writer: only so many run at once, each for a limited
time, with a limited answer; and when queries take half of the memory that DuckDB may use, they are ended. Reading holds up neither
commits nor checkpoints.
"""

import json
import logging
import select
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipeline.guarded import LOCKED, WATCH_SECONDS, QueryError, run, zone_of
from pipeline.store import Store

QUERIES_MAX: Final = 4
"""How many queries run at once; others wait for their turn."""
ANSWER_BYTES_MAX: Final = 128 * 2**20
MEMORY_SHARE_MAX: Final = 0.5
"""Which part of DuckDB's memory queries may take, together."""

_REQUEST_BYTES_MAX: Final = 2**20
_SEND_SECONDS_MAX: Final = 10.0
_ALIVE_SECONDS: Final = 1.0
_SILENT_SECONDS_MAX: Final = 15.0
"""After how long without a sign of life the client gives up on the writer."""

_MEMORY_LIMIT: Final = "SELECT parse_formatted_bytes(current_setting('memory_limit'))"
_MEMORY: Final = """
    SELECT coalesce(sum(memory_usage_bytes), 0) FROM duckdb_memory() WHERE tag <> 'BASE_TABLE'
"""
"""Bytes in use, without cached blocks of the file: those give way."""

log = logging.getLogger(__name__)


class NobodyAnswersError(Exception):
    """No process answers for this database, or it went away before it had."""


class _HungUpError(Exception):
    """Who asked does not want to know any more, or we are closing."""


def socket_path_of(path: Path) -> Path:
    """Return the name of the socket of a database."""
    return Path(f"{path}.sock")


# ------------------------------------------------------------------------------------------------------------------ asking


def ask(path: Path, sql: str, zone: ZoneInfo, seconds_max: float | None) -> pa.Table:
    """Have the process that writes the database `path` (resolved) answer a query.

    Raises:
        NobodyAnswersError: There is no such process.
        QueryError: It refuses the query, or the query fails.
    """
    request = {"sql": sql, "timezone": zone.key, "seconds_max": seconds_max}
    try:
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answer:
            connection.settimeout(_SILENT_SECONDS_MAX)
            connection.connect(str(socket_path_of(path)))
            connection.sendall(json.dumps(request).encode() + b"\n")
            head = next(filter(bytes.strip, answer), b"")
            told = json.loads(head) if head.endswith(b"\n") else {}  # else it was cut short
            if "error" in told:
                raise QueryError(told["error"])
            content = answer.read(told.get("bytes", 0))
    except OSError as error:
        raise NobodyAnswersError(str(error)) from error
    if not content or len(content) < told["bytes"]:
        raise NobodyAnswersError("it ended before it had answered")
    return pa.ipc.open_stream(content).read_all()


# ----------------------------------------------------------------------------------------------------------------- serving


@contextmanager
def serving(store: Store, seconds_max: float) -> Iterator[None]:
    """Answer queries to `store`, each for at most `seconds_max`, until the block ends; 0: none are answered.

    A socket that cannot be made is no reason not to work: then there is a warning, and readers have the copy.
    """
    path = socket_path_of(store.path)
    path.unlink(missing_ok=True)  # a killed process left it: we have the lock
    if not seconds_max:
        yield
        return
    try:
        server = _Server(path, store, seconds_max)
    except OSError as error:
        log.warning("no queries up to the last commit (%s: %s): they read the copy, which is older", path, error)
        yield
        return
    try:
        yield
    finally:
        server.close()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = False  # so that closing waits for them: none may still read when the store is closed
    request_queue_size = 64

    def __init__(self, path: Path, store: Store, seconds_max: float) -> None:
        super().__init__(str(path), _Conversation, bind_and_activate=False)
        self.store: Final = store
        self.seconds_max: Final = seconds_max
        self.turns: Final = threading.Semaphore(QUERIES_MAX)
        self.closing: Final = threading.Event()
        with closing(store.cursor()) as cursor:
            for setting in LOCKED:
                cursor.execute(setting).fetchall()
        self._path = path
        self._open: set[socket.socket] = set()
        try:
            self.server_bind()
            path.chmod(0o600)  # before anybody is listened to
            self.server_activate()
        except OSError:
            self.server_close()
            raise
        self.memory_max: Final = MEMORY_SHARE_MAX * store.sql(_MEMORY_LIMIT).item()
        self._thread = threading.Thread(target=self.serve_forever, args=(WATCH_SECONDS,), name="queries", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """Say it: only what nobody thought of comes here."""
        log.warning("a query could not be answered", exc_info=True)

    def close(self) -> None:
        """End all queries and stop."""
        self._path.unlink(missing_ok=True)
        self.closing.set()
        self.shutdown()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Conversation(socketserver.StreamRequestHandler):
    server: _Server
    timeout = _SEND_SECONDS_MAX

    def handle(self) -> None:
        self._alive_at = time.monotonic()
        with suppress(_HungUpError, OSError):
            request = json.loads(self.rfile.readline(_REQUEST_BYTES_MAX) or "null")
            if request is None:
                return
            try:
                content = self._answer(**request)
            except QueryError as error:
                self._say({"error": str(error)})
            else:
                self._say({"bytes": content.size})
                self.connection.sendall(content)

    def _answer(self, sql: str, timezone: str, seconds_max: float | None) -> pa.Buffer:
        while not self.server.turns.acquire(timeout=WATCH_SECONDS):
            self._watch()
        try:
            limit = self.server.seconds_max
            seconds = limit if seconds_max is None else min(limit, seconds_max)
            with closing(self.server.store.cursor()) as cursor:
                table = run(
                    cursor,
                    sql,
                    zone_of(timezone),
                    bytes_max=ANSWER_BYTES_MAX,
                    seconds_max=seconds,
                    watch=self._watch_memory,
                )
        finally:
            self.server.turns.release()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return sink.getvalue()

    def _watch_memory(self) -> None:
        self._watch()
        used = self.server.store.sql(_MEMORY).item()
        if used > self.server.memory_max:
            raise QueryError(
                f"stopped: queries have taken {used / 2**20:,.0f} MB, and the stream needs memory too: "
                "ask for fewer rows or columns"
            )

    def _watch(self) -> None:
        """Show that we live, and see whether we are still wanted."""
        if self.server.closing.is_set() or (
            select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK)
        ):
            raise _HungUpError
        if time.monotonic() - self._alive_at >= _ALIVE_SECONDS:
            self._alive_at = time.monotonic()
            self.connection.sendall(b"\n")

    def _say(self, line: dict[str, object]) -> None:
        self.connection.sendall(json.dumps(line).encode() + b"\n")
