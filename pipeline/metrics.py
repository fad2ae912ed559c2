"""What the service tells about itself over HTTP: `/metrics` for Prometheus and `/healthz` for whoever restarts it.

The loop only sets numbers; requests are answered by threads of their own and never make it wait.
"""

import json
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

HEALTHY_SECONDS_MAX: Final = 60.0
"""How long after its last completed turn the service still counts as healthy."""

_BATCH_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REQUEST_SECONDS_MAX: Final = 10


class HttpError(RuntimeError):
    """The metrics cannot be served; the message names the address and what to do."""


class Metrics:
    """The service's numbers. Counters start at zero with the process."""

    def __init__(self, version: str) -> None:
        self.registry: Final = CollectorRegistry()
        own: Final[dict[str, Any]] = {"namespace": "parcelwatch", "registry": self.registry}
        self.events: Final = Counter("events", "Valid events judged.", **own)
        self.facts: Final = Counter("facts", "Events that said something new.", **own)
        self.duplicates: Final = Counter("duplicates", "Events whose content was known already.", **own)
        self.dead_letters: Final = Counter("dead_letters", "Records that are no valid event.", **own)
        self.silent: Final = Counter("silent_records", "Valid payloads without any scan.", **own)
        self.flag_changes: Final = Counter("flag_changes", "Changes of flags.", ["rule", "change"], **own)
        self.from_future: Final = Counter("records_from_future", "Records stamped ahead of the wall clock.", **own)
        self.gaps: Final = Counter("gaps", "Ranges of records that Kafka deleted before they were read.", **own)
        self.purged_rows: Final = Counter(
            "purged_rows", "Rows deleted because they are older than the retention.", **own
        )
        self.purging_seconds: Final = Counter("purging_seconds", "For how long judging has waited for that.", **own)
        self.lag: Final = Gauge("partition_lag_records", "Records not yet read.", ["partition"], **own)
        self.state: Final = Gauge("state_entries", "Entries held in memory.", ["kind"], **own)
        self.batch_seconds: Final = Histogram(
            "batch_seconds", "Judging and committing a batch.", buckets=_BATCH_SECONDS, **own
        )
        self._clock: Final = Gauge("clock_seconds", "The pipeline's clock (as_of), as a Unix time.", **own)
        self._behind: Final = Gauge("clock_behind_seconds", "How far that clock is behind the wall clock.", **own)
        Info("build", "The version that runs.", **own).info({"version": version})

    def set_clock(self, clock: datetime) -> None:
        """Show `clock`, and from now on its distance from the wall clock as it is when asked for."""
        seconds = clock.timestamp()
        self._clock.set(seconds)
        self._behind.set_function(lambda: time.time() - seconds)


class Health(NamedTuple):
    """How the loop is, as of its last completed turn. Replaced as a whole, so that readers see no half of it."""

    turned_at: float | None = None
    """When a poll or batch was last completed, in seconds of `time.monotonic()`; None: still starting."""
    clock: datetime | None = None
    committed_at: datetime | None = None
    lag: Mapping[str, int] = {}

    def answer(self) -> tuple[HTTPStatus, dict[str, object]]:
        """The status and body of `/healthz` now."""
        idle_seconds = None if self.turned_at is None else round(time.monotonic() - self.turned_at, 1)
        healthy = idle_seconds is not None and idle_seconds <= HEALTHY_SECONDS_MAX
        body: dict[str, object] = {
            "status": "ok" if healthy else "starting" if idle_seconds is None else "stalled",
            "clock": _iso(self.clock),
            "last_commit": _iso(self.committed_at),
            "last_turn_seconds_ago": idle_seconds,
            "lag_records": sum(self.lag.values()),
        }
        return (HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE), body


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


class MetricsServer:
    """Answers on `host:port` until closed.

    Raises:
        HttpError: The address is taken or not ours.
    """

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        self.health = Health()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _REQUEST_SECONDS_MAX

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._send(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(metrics.registry))
                elif path == "/healthz":
                    status, body = outer.health.answer()
                    self._send(status, "application/json", json.dumps(body).encode())
                else:
                    self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"there are /metrics and /healthz\n")

            def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: a line per scrape would drown the log."""

        try:
            self._server = _QuietServer((host, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            message = f"cannot serve metrics on {host}:{port} ({reason}): choose another --http-port, or 0 for none"
            raise HttpError(message) from error
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that goes away in the middle of an answer is no concern of ours."""
