"""An environment per peer, made once from its pinned packages and kept in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
DONE: Final = ".installed"


class NoEnvironmentError(Exception):
    """The packages could not be installed; the message is what pip said last."""


def environment(name: str) -> Path:
    """Return the Python of the environment for `<name>.txt`, after making it if it is not there.

    Raises:
        NoEnvironmentError: It cannot be made.
    """
    packages = HERE / f"{name}.txt"
    kind = hashlib.sha256(packages.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "parcelwatch-peers" / f"{name}-{kind}"
    python = folder / "bin" / "python"
    if not (folder / DONE).exists():
        print(f"Installing {name} (once) ...", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        for command in ([sys.executable, "-m", "venv", folder], [*install, "--requirement", packages]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NoEnvironmentError(done.stderr.strip().splitlines()[-1])
        (folder / DONE).touch()
    return python


def version(name: str) -> str:
    """Return the pinned version of the package that the peer is about: the first in its file."""
    lines = (HERE / f"{name}.txt").read_text().splitlines()
    pins = (line.split()[0].split("==") for line in lines if line.startswith(name) and "==" in line)
    return next(pins)[1]
