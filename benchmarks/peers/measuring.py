"""Run one command to its end and measure it with all its descendants: `python -m benchmarks.peers.measuring SECONDS COMMAND...`.

In a process of its own, which adopts whatever the command leaves behind (Linux), so that nothing that a child of a child used is
missed: the JVM behind PySpark, or the process that copies a database. CPU is user and system time as the kernel counts it. Memory
is the largest sum of resident sets, looked at ten times a second; pages that processes share are counted in each.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import psutil

PR_SET_CHILD_SUBREAPER: Final = 36
LOOKS_PER_SECOND: Final = 10
GRACE_SECONDS: Final = 10.0
ROOT: Final = Path(__file__).resolve().parents[2]
TELLS_CHARACTERS: Final = 2000


class PeerFailedError(Exception):
    """The command failed, or took too long; the message is the end of what it said."""


class Measured(NamedTuple):
    """Wall time from start to end, CPU time and peak memory of the whole tree."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def measure(command: list[str], seconds_max: float, environment: dict[str, str] | None = None) -> Measured:
    """Run the command, alone.

    Raises:
        PeerFailedError: It failed, or was ended after `seconds_max`.
    """
    with tempfile.TemporaryFile() as said:
        watched = [sys.executable, "-m", "benchmarks.peers.measuring", str(seconds_max), *command]
        process = subprocess.run(
            watched, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, env=os.environ | (environment or {}), check=False
        )
        said.seek(0)
        if process.returncode:
            raise PeerFailedError(said.read().decode(errors="replace")[-TELLS_CHARACTERS:])
    return Measured(**json.loads(process.stdout))


def _watch(seconds_max: float, command: list[str]) -> int:
    """Run the command and print the figures; returns its exit status."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    this = psutil.Process()
    started = time.perf_counter()
    # What it prints is of interest only if it fails.
    process = subprocess.Popen(command, stdout=sys.stderr)
    peak = 0
    while process.poll() is None and time.perf_counter() - started < seconds_max:
        peak = max(peak, sum(map(_resident_bytes, this.children(recursive=True))))
        time.sleep(1 / LOOKS_PER_SECOND)
    seconds = time.perf_counter() - started
    status = process.poll()
    if status is None:
        print(f"ended after {seconds_max:.0f} s", file=sys.stderr)
    _end(this, GRACE_SECONDS if status == 0 else 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": peak / 1e6}))
    return 1 if status is None else abs(status)


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _end(this: psutil.Process, seconds: float) -> None:
    """Let what is left of the tree end, or end it, and take in what it used."""
    _, alive = psutil.wait_procs(this.children(recursive=True), timeout=seconds)
    for process in alive:
        process.kill()
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(_watch(float(sys.argv[1]), sys.argv[2:]))
