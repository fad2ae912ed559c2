"""What every command that judges has in common: opening the pipeline, working ahead, and stopping in order."""

import hmac
import os
import secrets
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Semaphore, Thread
from types import FrameType
from typing import Any, Final, NamedTuple, Self, TypeVar

from detectors._profiles import Profiles
from pipeline.decoding import Decoding
from pipeline.engine import Engine
from pipeline.formats import Formats
from pipeline.profile_views import profile_views
from pipeline.profiles import ProfileError, load_profiles
from pipeline.purging import Purger
from pipeline.serving import serving
from pipeline.store import Store
from places.resolving import load_names
from schemas.settings import Settings, SettingsError

Item = TypeVar("Item")

_STOP_LATENCY_SECONDS: Final = 0.1
_KEY_BYTES: Final = 32
_MARKED: Final = b"parcelwatch"
"""Hashed with a key, it tells the key from others, and nothing about it."""


class HashKeyError(RuntimeError):
    """The key that names and phones are hashed with is missing, unreadable or another one; the message says what to do."""


class Pipeline(NamedTuple):
    """The opened parts: what decodes, what judges, what keeps, and what deletes."""

    store: Store
    engine: Engine
    decoder: Decoding
    purger: Purger


@contextmanager
def opened(settings: Settings, formats: Formats | None = None, records: int = 0) -> Iterator[Pipeline]:
    """Open the database of `settings` for writing, rebuild the engine from it, and close it in the end.

    After an error the database is left as the last commit made it, and its published copy as it was.

    Args:
        settings: What to open, and how.
        formats: Those of the settings unless given.
        records: How many are to be expected: what decodes them may have to be started.

    Raises:
        SettingsError: A platform profile or a table of carriers is wrong.
        StoreError: The database cannot be opened, or another process has it.
        HashKeyError: The database's key is gone, or it is another one.
    """
    # The first batch needs them, the database takes as long.
    Thread(target=load_names, name="names", daemon=True).start()
    profiles = profiles_of(settings)
    views = profile_views(profiles)
    with (
        closing(_decoding(formats or Formats.of(settings), records)) as decoder,
        Store(settings.db, copy_every_seconds=settings.copy_every_seconds, extra_views=views) as store,
        serving(store, settings.query_seconds_max),
    ):
        decoder.use_key(hash_key(settings, store))
        warn = None if settings.warn_hours is None else timedelta(hours=settings.warn_hours)
        retention = None if settings.retention_days is None else timedelta(days=settings.retention_days)
        engine = Engine(
            store,
            profiles,
            timedelta(days=settings.lateness_days),
            warn=warn,
            retention=retention,
            memory_every_seconds=settings.memory_every_seconds,
        )
        with closing(Purger(store, engine, retention)) as purger:
            yield Pipeline(store, engine, decoder, purger)
        engine.close()


def _decoding(formats: Formats, records: int) -> Decoding:
    decoding = Decoding(None, formats)
    decoding.expect(records)  # its processes start while the database is opened, which has the key
    return decoding


def profiles_of(settings: Settings) -> Profiles:
    """The platform profiles that hold.

    Raises:
        SettingsError: One of them is wrong.
    """
    try:
        return load_profiles(settings.profiles_dir)
    except ProfileError as error:
        raise SettingsError(f"{error}: correct the profile, or the setting profiles_dir") from error


def hash_key(settings: Settings, store: Store) -> bytes:
    """The key of the settings, else the one beside the database, made there at the first use of a fresh database.

    Under another key than before, the same person would look like another one, and every shared waybill like a fraud.
    """
    fresh = store.clock() is None and not store.offsets()
    path = Path(f"{settings.db}.key")
    if settings.hash_key is not None:
        key, origin = settings.hash_key.get_secret_value().encode(), "the setting hash_key"
    else:
        key, origin = _kept_key(path, settings, fresh=fresh), str(path)
    mark = hmac.digest(key, _MARKED, "sha256").hex()
    if store.key_mark != mark:
        if not fresh and store.key_mark is not None:
            raise HashKeyError(f"{origin} is not the key that {settings.db} was begun with: put that back")
        store.remember_key(mark)
    return key


def _kept_key(path: Path, settings: Settings, *, fresh: bool) -> bytes:
    if not path.exists():
        if not fresh:
            message = (
                f"{path} is missing: put back the key that {settings.db} was begun with, or set PARCELWATCH_HASH_KEY"
            )
            raise HashKeyError(message)
        _create_key(path)
    key = path.read_bytes().strip()
    if len(key) < _KEY_BYTES:
        raise HashKeyError(f"{path} holds no key: put back the one that {settings.db} was begun with")
    return key


def _create_key(path: Path) -> None:
    """Write a random key, readable by its owner alone, whole or not at all. The database's lock is held: nobody else does."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).rename(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


class Stop:
    """Whether to stop: all is done, or the first SIGINT or SIGTERM has asked for it. The second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._done = False
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self._done or self.signal is not None

    def done(self) -> None:
        """Stop without a signal: what was to be done has been done."""
        self._done = True

    @property
    def status(self) -> int:
        """The exit status that tells a shell of the signal."""
        return 128 + (self.signal or 0)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


class _End(NamedTuple):
    error: BaseException | None


def _make(items: Iterator[Item], made: "SimpleQueue[Item | _End]", room: Semaphore, abandoned: Event) -> None:
    """Put `items` into `made`, each when there is room for it; last, how they ended."""
    try:
        while room.acquire() and not abandoned.is_set():
            made.put(next(items))
    except StopIteration:
        made.put(_End(None))
    except BaseException as error:
        # Raised again in the thread that reads.
        made.put(_End(error))


def ahead(
    items: Iterator[Item],
    stop: Stop,
    *,
    depth: int = 2,
    patience_seconds: float = 1.0,
    asked: Event | None = None,
    hurried: Callable[[Item], bool] = lambda _: True,
) -> Generator[Item]:
    """The same items, made in a thread of their own while earlier ones are used, at most `depth` of them waiting.

    `asked` is set while the next item is waited for, so that who makes it can make more of it until then. After an item that is
    not `hurried`, the next is not begun before it is waited for.

    Ends with `items`, or when `stop` has been asked for; then waits for the item being made, but no longer than
    `patience_seconds`: a read from standard input may take for ever. An error of `items` is raised after the items before it.
    """
    made: SimpleQueue[Item | _End] = SimpleQueue()
    room = Semaphore(depth)
    abandoned = Event()
    asked = asked or Event()
    worker = Thread(target=_make, args=(items, made, room, abandoned), name="ahead", daemon=True)
    worker.start()
    try:
        while not stop:
            asked.set()
            try:
                item = made.get(timeout=_STOP_LATENCY_SECONDS)
            except Empty:
                continue
            asked.clear()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            early = hurried(item)
            if early:
                room.release()
            yield item
            if not early:
                room.release()
    finally:
        abandoned.set()
        room.release()
        asked.set()
        worker.join(patience_seconds)
