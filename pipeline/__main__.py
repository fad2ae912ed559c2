"""The console script `parcelwatch`: runs one command and turns every way it can end into an exit status and at most one line."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from pipeline.cli import USAGE, UsageError, parse, program_version
from schemas.settings import SettingsError, load

FAILED: Final = 1
INTERRUPTED: Final = 128 + signal.SIGINT
BROKEN_PIPE: Final = 128 + signal.SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of `argv` (without the program's name) and return the exit status.

    Without `argv` it is the process's own command line, and the process ends here. With `PARCELWATCH_DEBUG=1` an error also
    shows where it came from.
    """
    status = _status(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # Not by way of the interpreter's own end: everything to be kept has been closed, and what may still be there is a thread
        # of the Kafka client that waits for a broker, or one that waits for standard input. They would hold it up, or crash it.
        sys.stderr.flush()
        os._exit(status)
    return status


def _status(argv: Sequence[str]) -> int:
    try:
        status = _run(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. Nothing more can be written, not even what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except BaseException as error:
        # The last line of defence, against panics of native libraries too: the user sees a line, not a traceback.
        if os.environ.get("PARCELWATCH_DEBUG", "0") not in {"", "0"}:
            traceback.print_exc()
        sys.stderr.write(f"parcelwatch: {_one_line(error)}\n")
        return USAGE if isinstance(error, (SettingsError, UsageError)) else FAILED
    return status


def _run(argv: Sequence[str]) -> int:
    try:
        arguments = parse(argv)
    except SystemExit as end:  # after showing help, or a complaint
        return end.code if isinstance(end.code, int) else USAGE
    if arguments.version:
        sys.stdout.write(f"parcelwatch {program_version()}\n")
        return 0
    if arguments.entry is None:
        sys.stderr.write(arguments.help)
        return USAGE
    settings = load(arguments.flags)
    module, _, function = arguments.entry.partition(":")
    status: int = getattr(import_module(module), function)(arguments, settings)
    return status


def _one_line(error: BaseException) -> str:
    """The message of an error meant for the user; for any other, its kind as well and how to report it."""
    text = " ".join(str(error).split())
    if type(error).__module__.partition(".")[0] in {"pipeline", "schemas", "detectors"}:
        return text
    if isinstance(error, OSError) and error.strerror:
        subject = f"{error.filename}: " if error.filename else ""
        return f"{subject}{error.strerror}: check the path, its permissions and the space left"
    hint = "what is committed is safe; PARCELWATCH_DEBUG=1 shows where it came from"
    return f"{type(error).__name__}: {text or 'no message'}: {hint}"


if __name__ == "__main__":
    sys.exit(main())
