"""Connecting to Kafka: what all clients have in common, and why one could not connect."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kafka.errors import KafkaError, RetriableError

START_SECONDS_MAX: Final = 15
"""How long a broker, or a topic, may take to be there."""
CLIENT_DEFAULTS: Final[Mapping[str, object]] = {
    "client_id": "parcelwatch",
    "bootstrap_timeout_ms": START_SECONDS_MAX * 1000,
    "reconnect_backoff_max_ms": 1000,
    "request_timeout_ms": 15_000,
}
"""Settings of every Kafka client here, unless the user's say otherwise."""

_LABELS: Final = re.compile(r"(\[Error \d+\] |\w+Error: )+")
_UNTELLING: Final = re.compile("socket disconnected|timed out|Timeout|Unable to bootstrap")
"""What happens whatever the reason: a broker hangs up, and does not answer who knocks again at once."""


class SourceError(Exception):
    """Kafka cannot be read. The message is one line that says what to do."""


class SourceUnreachableError(SourceError):
    """No broker let us in at start."""


@contextmanager
def connecting(settings: Mapping[str, Any]) -> Iterator[None]:
    """Turns what a client raises while it connects into a SourceError, in one line."""
    told = logging.getLogger("kafka")
    if told.level == logging.NOTSET:
        # While a broker is away the client reports every attempt; we say it once.
        told.setLevel(logging.CRITICAL)
    servers, heard = server_names(settings), _Heard(passes=told.level < logging.CRITICAL)
    try:
        with heard:
            yield
    except RetriableError as error:
        seconds = settings["bootstrap_timeout_ms"] / 1000
        raise SourceUnreachableError(
            f"no connection to Kafka at {servers} within {seconds:.0f} s{heard.reason()}: "
            "check that it runs, and the settings bootstrap_servers and kafka (SASL, TLS)"
        ) from error
    except (KafkaError, OSError, ValueError, TypeError, AssertionError) as error:
        raise SourceError(f"Kafka at {servers} cannot be read: {error}") from error


class _Heard(logging.Filter):
    """Hears why the client cannot connect: it tries again until its time is up, and tells the reasons to its log alone."""

    def __init__(self, *, passes: bool) -> None:
        super().__init__()
        self._passes = passes
        self._reasons: list[str] = []
        self._logger = logging.getLogger("kafka.net.manager")
        self._level = self._logger.level

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        self._reasons += [str(each) for each in arguments if isinstance(each, Exception)]
        return self._passes

    def reason(self) -> str:
        """The first reason that tells something, in brackets, or nothing."""
        telling = [each for each in self._reasons if not _UNTELLING.search(each)] or self._reasons
        return f" ({_LABELS.sub('', ' '.join(telling[0].split()))})" if telling else ""

    def __enter__(self) -> None:
        self._logger.addFilter(self)
        if not self._passes:
            self._logger.setLevel(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)
        self._logger.removeFilter(self)


def server_names(settings: Mapping[str, Any]) -> str:
    """The brokers that the settings name, for people."""
    servers = settings.get("bootstrap_servers", "localhost:9092")
    return servers if isinstance(servers, str) else ", ".join(servers)
