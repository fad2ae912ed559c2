"""Watching Kafka beside reading it: its partitions, where their logs begin and end. A group's offsets are committed here, too."""

import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from kafka import KafkaAdminClient, OffsetAndMetadata, OffsetSpec, TopicPartition
from kafka.errors import LeaderNotAvailableError, RetriableError, UnknownTopicOrPartitionError, for_code

from pipeline.kafka_connecting import START_SECONDS_MAX, server_names
from pipeline.store import Offset

CLOSE_SECONDS_MAX: Final = 5
RETRY_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.5
_COMMITS_FAILED_MAX: Final = 10

#: What a broker says of a topic that does not exist, or has only just been created.
_NOT_YET: Final = frozenset({UnknownTopicOrPartitionError.errno, LeaderNotAvailableError.errno})

log = logging.getLogger(__name__)


class Log(NamedTuple):
    """A partition as the broker has it."""

    start: int
    end: int
    fingerprint: int | None


class Sight(NamedTuple):
    """What the watch saw: nothing was appended before `at` that is not below the log ends."""

    at: datetime
    logs: Mapping[TopicPartition, Log]
    missing: frozenset[str]


class Watch:
    """Looks at the broker twice a second, and commits the group's offsets, in a thread and on a connection of its own."""

    def __init__(self, settings: Mapping[str, Any], topics: Sequence[str], now: Callable[[], datetime]) -> None:
        self._topics = topics
        self._now = now
        self._servers = server_names(settings)
        self._group = cast("str | None", settings.get("group_id"))
        self._isolation = settings.get("isolation_level", "read_uncommitted")
        self._admin = KafkaAdminClient(
            **{name: value for name, value in settings.items() if name in KafkaAdminClient.DEFAULT_CONFIG}
        )
        self._failing = False
        self._uncommitted: dict[TopicPartition, OffsetAndMetadata] = {}
        self._commits_failed = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka-watch", daemon=True)
        #: The newest sight. Replaced, never changed.
        self.sight = Sight(now(), {}, frozenset())
        self._begun = 0.0
        try:
            self._look_first()
        except BaseException:
            self._admin.close()
            raise
        self._thread.start()

    def look(self) -> Sight:
        """Asks the broker now, and returns the newest sight. Safe for threads.

        Raises:
            KafkaError: it does not answer, or not for all partitions.
        """
        # First the wall clock, then the log ends: what is appended before the one is below the other.
        begun, at = time.monotonic(), self._now()
        described = self._admin.describe_topics(list(self._topics))
        missing = frozenset(topic["name"] for topic in described if topic["error_code"] in _NOT_YET)
        for topic in described:
            if topic["error_code"] and topic["name"] not in missing:
                raise for_code(topic["error_code"])(topic["name"])
        fingerprints = {
            TopicPartition(topic["name"], partition["partition_index"]): _fingerprint(topic["topic_id"])
            for topic in described
            for partition in topic["partitions"]
        }
        starts = self._offsets(fingerprints, OffsetSpec.EARLIEST)
        ends = self._offsets(fingerprints, OffsetSpec.LATEST)
        logs = {partition: Log(starts[partition], ends[partition], mark) for partition, mark in fingerprints.items()}
        with self._lock:
            # Not by the wall clock: it may be set back.
            if begun >= self._begun:
                self._say_missing(missing)
                self._begun, self.sight = begun, Sight(at, logs, missing)
            return self.sight

    def commit(self, offsets: Mapping[str, Offset]) -> None:
        """Commits `offsets` of the group at the next look. Safe for threads."""
        if self._group is None:
            return
        with self._lock:
            for source, offset in offsets.items():
                topic, _, partition = source.rpartition("/")
                self._uncommitted[TopicPartition(topic, int(partition))] = OffsetAndMetadata(offset.position, "", -1)

    def close(self) -> None:
        """Commits what was acknowledged last and closes the connection, within seconds. May be called twice."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS_MAX)
        self._admin.close()

    def _look_first(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.look()
            except RetriableError:
                # A broker that has just started, or a topic just created, is not known everywhere yet.
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                return

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            try:
                self.look()
            except Exception as error:  # Whatever it is: nothing is proven by it, and the next look may succeed.
                if not self._failing:
                    log.warning(
                        "Kafka at %s does not answer (%s): trying again; the clock stands still", self._servers, error
                    )
                self._failing = True
                continue
            if self._failing:
                log.info("Kafka at %s answers again", self._servers)
            self._failing = False
            self._commit_now()
        if not self._failing:
            self._commit_now()

    def _commit_now(self) -> None:
        with self._lock:
            offsets, self._uncommitted = self._uncommitted, {}
        if not offsets:
            return
        try:
            errors = {error for error in self._admin.alter_group_offsets(self._group, offsets).values() if error.errno}
            problem = ", ".join(sorted(error.__name__ for error in errors))
        except Exception as error:  # For lag monitors only: nothing here may end the watch.
            problem = str(error)
        if not problem:
            self._commits_failed = 0
            return
        with self._lock:
            self._uncommitted = {**offsets, **self._uncommitted}
        self._commits_failed += 1
        # The first commit of a new cluster fails while the broker makes its offsets topic.
        if self._commits_failed == _COMMITS_FAILED_MAX:
            log.warning("offsets of group %s are not committed (%s): lag monitors are behind", self._group, problem)

    def _offsets(self, partitions: Iterable[TopicPartition], spec: OffsetSpec) -> dict[TopicPartition, int]:
        wanted = dict.fromkeys(partitions, spec)
        found = self._admin.list_partition_offsets(wanted, self._isolation) if wanted else {}
        return {partition: found[partition].offset for partition in wanted}

    def _say_missing(self, missing: frozenset[str]) -> None:
        if missing - self.sight.missing:
            names = ", ".join(sorted(missing))
            log.warning("no topic %s at %s: waiting for it; until then the clock stands still", names, self._servers)
        if self.sight.missing - missing:
            log.info("topic %s is there now", ", ".join(sorted(self.sight.missing - missing)))


def _fingerprint(topic_id: str | UUID | None) -> int | None:
    """Tells a topic from another one of the same name that came after it; None from brokers that give topics no id."""
    return None if topic_id is None else zlib.crc32(str(topic_id).encode())
