"""Publishing to Kafka: changes of flags and dead letters, from DuckDB as an outbox.

What is committed is sent, in the order of the commits, at least once: how far it was sent is remembered in DuckDB after the
broker has acknowledged it, so a crash in between sends it again. Every message carries the number (`seq`, `id`) to tell by.
Judging never waits for a broker: at most one window of messages is under way, and its outcome is looked at in the next turn.
"""

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from pipeline.kafka_connecting import CLIENT_DEFAULTS, SourceError, connecting
from pipeline.store import Store

RAW_BYTES_MAX: Final = 100_000
"""A longer dead letter is published without its bytes, which DuckDB has: brokers refuse messages of more than 1 MB."""

_WINDOW_ROWS_MAX: Final = 1000
_RETRY_SECONDS: Final = 10.0
_CLOSE_SECONDS_MAX: Final = 5.0
#: So long may judging wait for a topic that the broker does not know, once in a while.
_BLOCK_MS_MAX: Final = 1000

log = logging.getLogger(__name__)


class Send(Protocol):
    """Sends one message. Its record is stamped with `recorded_at_ms`, or with now."""

    def __call__(self, topic: str, key: str, value: bytes, recorded_at_ms: int | None = None) -> None:
        """Hand the message over; it is sent soon."""


class _Message(NamedTuple):
    number: int
    key: str
    value: bytes


class Publisher:
    """Sends changes of flags and dead letters to their topics; to None, nothing.

    Args:
        settings: keyword arguments of `kafka.KafkaProducer`; those it does not have are ignored.
        flags_topic: gets every change of a flag as JSON, with `seq`; key: the order id.
        letters_topic: gets every dead letter as JSON, with `id`; key: its source.

    Raises:
        SourceUnreachableError: no broker answered.
    """

    def __init__(self, settings: Mapping[str, Any], flags_topic: str | None, letters_topic: str | None) -> None:
        self._store: Store | None = None
        self._producer: KafkaProducer | None = None
        self._outboxes: list[_Outbox] = []
        if flags_topic is None and letters_topic is None:
            return
        self._producer = _connected({**settings, "max_block_ms": _BLOCK_MS_MAX})
        if flags_topic is not None:
            self._outboxes.append(_Outbox(flags_topic, _flags, self._producer))
        if letters_topic is not None:
            self._outboxes.append(_Outbox(letters_topic, _letters, self._producer))

    def publish(self, store: Store) -> None:
        """Sends what `store` has that was not sent yet, or a part of it. Call it after every commit, and now and then."""
        self._store = store
        for outbox in self._outboxes:
            outbox.settle(store)
            outbox.send(store)

    def close(self) -> None:
        """Sends the rest, for some seconds at most, and closes the connection. What is left is sent by the next process."""
        if self._producer is None:
            return
        producer, self._producer = self._producer, None
        deadline = time.monotonic() + _CLOSE_SECONDS_MAX
        try:
            while self._store is not None and time.monotonic() < deadline:
                producer.flush(max(0.0, deadline - time.monotonic()))
                self.publish(self._store)
                if not any(outbox.under_way for outbox in self._outboxes):
                    break
        except KafkaError as error:
            log.warning("not all could be published (%s): the next start goes on with it", error)
        finally:
            # Closing waits for what cannot be sent any more, and raises when that takes too long.
            try:
                producer.close(timeout=max(0.0, deadline - time.monotonic()))
            except KafkaError:
                log.debug("closing the producer", exc_info=True)


class _Outbox:
    """One topic, and the numbered rows that belong there."""

    def __init__(self, topic: str, rows: Callable[[Store, int], Iterator[_Message]], producer: KafkaProducer) -> None:
        self._topic = topic
        self._rows = rows
        self._producer = producer
        self._under_way: list[tuple[int, Any]] = []
        self._last: int | None = None
        self._retry_at = 0.0
        self._failing = False

    @property
    def under_way(self) -> bool:
        """Whether something was sent whose outcome is open."""
        return bool(self._under_way)

    def settle(self, store: Store) -> None:
        """Remembers what the broker has acknowledged; what it refused, and all after it, is sent again later."""
        if not self._under_way or not all(future.is_done for _, future in self._under_way):
            return
        acknowledged = None
        for number, future in self._under_way:
            if future.failed():
                self._failed(future.exception)
                break
            acknowledged = number
        else:
            if self._failing:
                log.info("publishing to %s again", self._topic)
            self._failing = False
        self._under_way = []
        if acknowledged is not None:
            store.mark_published(self._topic, acknowledged)
            self._last = acknowledged

    def send(self, store: Store) -> None:
        """Sends the next rows, unless others are still under way."""
        if self._under_way or time.monotonic() < self._retry_at:
            return
        if self._last is None:
            self._last = store.published(self._topic)
        try:
            for message in self._rows(store, self._last):
                future = self._producer.send(self._topic, message.value, key=message.key.encode())
                self._under_way.append((message.number, future))
        except KafkaError as error:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if not self._failing:
            log.warning(
                "cannot publish to %s (%s): trying again; nothing is lost, it waits in the database", self._topic, error
            )
        self._failing = True
        self._retry_at = time.monotonic() + _RETRY_SECONDS


@contextmanager
def sending(settings: Mapping[str, Any]) -> Iterator[Send]:
    """A function that sends a message, fast rather than soon. When the block ends, all of them have arrived.

    Raises:
        SourceUnreachableError: no broker answered.
        SourceError: a topic does not exist.
        KafkaError: a message could not be delivered.
    """
    producer = _connected({"linger_ms": 20, "batch_size": 128 * 1024, "max_block_ms": 10_000, **settings})
    failures: list[BaseException] = []

    def send(topic: str, key: str, value: bytes, recorded_at_ms: int | None = None) -> None:
        if failures:
            raise failures[0]
        try:
            future = producer.send(topic, value, key=key.encode(), timestamp_ms=recorded_at_ms)
        except KafkaTimeoutError as error:
            raise SourceError(f"{topic} cannot be written to: create this topic, or name another one") from error
        future.add_errback(failures.append)

    try:
        yield send
        producer.flush()
        if failures:
            raise failures[0]
    finally:
        producer.close(timeout=_CLOSE_SECONDS_MAX)


def _connected(settings: Mapping[str, Any]) -> KafkaProducer:
    settings = {**CLIENT_DEFAULTS, **settings}
    with connecting(settings):
        return KafkaProducer(
            **{name: value for name, value in settings.items() if name in KafkaProducer.DEFAULT_CONFIG}
        )


def _flags(store: Store, after: int) -> Iterator[_Message]:
    for row in store.flags_after(after, _WINDOW_ROWS_MAX).iter_rows(named=True):
        evidence = json.loads(row.pop("evidence") or "null")
        yield _Message(row["seq"], row["order_id"], _json({**row, "evidence": evidence}))


def _letters(store: Store, after: int) -> Iterator[_Message]:
    for row in store.letters_after(after).iter_rows(named=True):
        yield _Message(row["id"], row["source"], _json({**row, **_raw(row["raw"])}))


def _raw(raw: bytes | None) -> dict[str, str | None]:
    """The bytes of a letter as text, if they are text and not too long; else in base 64, or not at all."""
    if raw is None or len(raw) > RAW_BYTES_MAX:
        return {"raw": None}
    try:
        return {"raw": raw.decode()}
    except UnicodeDecodeError:
        return {"raw": None, "raw_base64": base64.b64encode(raw).decode()}


def _json(row: Mapping[str, object]) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_time).encode()


def _time(value: object) -> str:
    assert isinstance(value, datetime), f"no JSON for {value!r}"
    return value.astimezone(UTC).isoformat()
