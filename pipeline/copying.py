"""Copying a database file; run as a child process, `copying.py SOURCE TARGET FD`.

A process of its own, because opening and closing the database file inside the writer would drop the writer's lock on it.
It imports nothing of the project and starts in 20 ms: it is run by its path, with `-I -S`.

FD is an open, exclusively locked descriptor of `TARGET.tmp`. The lock lives as long as this process does, so that a
writer that starts after a crash can wait for a copy that the crash has orphaned. Prints the seconds that it took.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

_CHUNK_BYTES = 64 * 1024 * 1024


def copy_durably(source: Path, target: Path) -> None:
    """Make `target` a copy of `source` that survives a power failure. It is overwritten in place."""
    fd = os.open(target, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _copy_into(source, fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power failure."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _copy_into(source: Path, target_fd: int) -> None:
    """Copy the bytes and the modification time, which says how old the copy's content is."""
    with source.open("rb") as file:
        os.ftruncate(target_fd, 0)
        _copy_bytes(file.fileno(), target_fd)
        stat = os.fstat(file.fileno())
    os.utime(target_fd, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.fsync(target_fd)


def _copy_bytes(source_fd: int, target_fd: int) -> None:
    if hasattr(os, "copy_file_range"):  # in the kernel; at once where the file system can share blocks
        with suppress(OSError):  # not between these files: go on from here by hand
            while os.copy_file_range(source_fd, target_fd, _CHUNK_BYTES):
                pass
    while chunk := os.read(source_fd, _CHUNK_BYTES):
        view = memoryview(chunk)
        while view:
            view = view[os.write(target_fd, view) :]


def main() -> None:
    """Copy as the command line says, and rename: readers of the target see the old copy or the new one, whole."""
    source, target, tmp_fd = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    started = time.monotonic()
    _copy_into(source, tmp_fd)
    Path(f"{target}.tmp").replace(target)
    sync_folder(target.parent)
    sys.stdout.write(f"{time.monotonic() - started:.6f}")


if __name__ == "__main__":
    main()
