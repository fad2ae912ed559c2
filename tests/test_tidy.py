"""Properties of the code itself: who may import what, what is documented, how large things may be, what must not be said.

Every test reads all files and its failure says what to do, and where.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from pipeline.cli import parse

ROOT: Final = Path(__file__).parent.parent
ROOMS: Final = ("schemas", "places", "detectors", "pipeline")
FILE_LINES_MAX: Final = 600
FUNCTION_LINES_MAX: Final = 70

MAY_IMPORT: Final = {
    "schemas": {"schemas"},
    "places": {"places", "schemas"},
    "detectors": {"detectors", "schemas"},
    "pipeline": set(ROOMS),
}
"""Of the project's own folders; `tests` and `benchmarks` may import everything."""

ONLY_IN: Final = {
    "kafka": {
        "pipeline/kafka_source.py",
        "pipeline/kafka_columns.py",
        "pipeline/kafka_connecting.py",
        "pipeline/kafka_watch.py",
        "pipeline/publish.py",
    },
    "duckdb": {
        "pipeline/store.py",
        "pipeline/ddl.py",
        "pipeline/healing.py",
        "pipeline/guarded.py",
        "pipeline/reading.py",
    },
}
"""Of the files in the rooms; tests and benchmarks use both."""

IMPURE: Final = {
    *("asyncio", "concurrent", "duckdb", "glob", "http", "io", "kafka", "logging", "multiprocessing", "os", "queue"),
    *(
        "random",
        "secrets",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
    ),
    *("urllib", "uuid"),
}
"""What a detector could learn of the world, or change in it. Shipped profiles are read by the pipeline and handed in."""
IMPURE_CALLS: Final = {
    *("now", "today", "utcnow", "open", "print", "input", "exec", "eval"),
    *("read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "glob", "rglob", "mkdir", "unlink", "touch"),
    *("read_csv", "read_json", "read_ndjson", "read_parquet", "scan_csv", "scan_ndjson", "scan_parquet"),
    *("write_csv", "write_json", "write_ndjson", "write_parquet", "sink_csv", "sink_ndjson", "sink_parquet"),
}

MACHINE_PATH: Final = re.compile(
    r"(?<![\w.$}~/-])/(?:work|root|home/\w+|Users/\w+|private/tmp|var/folders|tmp/\w+)\b"
    r"|\b[A-Za-z]:\\+Users"
)


# --------------------------------------------------------------------------------------------------------- the files


@cache
def tracked() -> tuple[str, ...]:
    """The files that are in the repository or would be after `git add --all`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()))


def python_files(*folders: str) -> Iterator[str]:
    """The Python files in these folders, or all when none are given."""
    for name in tracked():
        if name.endswith(".py") and (not folders or name.split("/")[0] in folders):
            yield name


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text("utf-8"), name)


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Each imported module by its full name, with the line; `from a import b` counts as both `a` and `a.b`.

    What is imported by name, as in `import_module("a.b")`, counts too.
    """
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or "."
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            arguments = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            yield from ((node.lineno, argument) for argument in arguments if isinstance(argument, str))


def called(node: ast.Call) -> str:
    """The last part of the called name: `now` for `datetime.now()`."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree(name)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def texts() -> Iterator[tuple[str, int, str]]:
    """All lines of all tracked text files, with file and number."""
    for name in tracked():
        try:
            text = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        yield from ((name, number, line) for number, line in enumerate(text.splitlines(), 1))


def assert_none(offenders: Iterator[str], advice: str) -> None:
    found = sorted(set(offenders))
    assert not found, "\n  ".join([advice, *found])


# ------------------------------------------------------------------------------------------------ who imports whom


def test_there_is_something_to_check():
    for room in ROOMS:
        assert len(list(python_files(room))) > 1, (
            f"{room}/ has no Python files: name the rooms in ROOMS as they are called."
        )


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room):
    folders = {name.split("/")[0] for name in python_files() if "/" in name}
    assert_none(
        (
            f"{name}:{line} imports {module}"
            for name in python_files(room)
            for line, module in imports(name)
            if module.startswith(".") or module.split(".")[0] in folders - MAY_IMPORT[room]
        ),
        f"{room}/ may import only {sorted(MAY_IMPORT[room])} of the project: hand it what it needs, or move that down.",
    )


@pytest.mark.parametrize("package", ONLY_IN)
def test_kafka_and_duckdb_stay_behind_their_files(package):
    assert_none(
        (
            f"{name}:{line} imports {module}"
            for name in python_files(*ROOMS)
            for line, module in imports(name)
            if module.split(".")[0] == package and name not in ONLY_IN[package]
        ),
        f"Only {', '.join(sorted(ONLY_IN[package]))} may import {package}: call one of them instead.",
    )


def test_detectors_and_places_learn_nothing_but_their_arguments():
    assert_none(
        (
            f"{name}:{line} imports {module}"
            for name in python_files("detectors", "places")
            for line, module in imports(name)
            if module.split(".")[0] in IMPURE
        ),
        "Detectors and places are pure functions of their arguments: let the pipeline do this, and hand the result in.",
    )
    assert_none(
        (
            f"{name}:{node.lineno} calls {called(node)}()"
            for name in python_files("detectors")
            for node in ast.walk(tree(name))
            if isinstance(node, ast.Call) and called(node) in IMPURE_CALLS
        ),
        "A detector reads no clock and no file: time is a column (`as_of`), and what is in files is handed in.",
    )


# ------------------------------------------------------------------------------------------------ documentation, tests


def detectors() -> list[str]:
    """Every public module in detectors/ is a detector; a leading underscore is the only exception."""
    names = [name for name in python_files("detectors") if name.count("/") == 1]
    return [Path(name).stem for name in names if not Path(name).stem.startswith("_")]


def test_every_detector_has_its_test():
    assert detectors(), "detectors/ has no public module: a rule is a file there, named like its code."
    assert_none(
        (
            f"tests/detectors/test_{name}.py"
            for name in detectors()
            if f"tests/detectors/test_{name}.py" not in tracked()
        ),
        "A detector is one file and one test file: write these, with examples on both sides of each limit.",
    )


def test_every_format_has_its_test():
    here = "schemas/carriers/"
    names = [Path(name).stem for name in python_files("schemas") if name.startswith(here)]
    formats = [name for name in names if not name.startswith("_")]
    assert formats, f"{here} has no public module: a format is a file there."
    assert_none(
        (f"tests/{here}test_{name}.py" for name in formats if f"tests/{here}test_{name}.py" not in tracked()),
        "A format is one file and one test file: write these, with payloads of your own making.",
    )


def undocumented(name: str) -> Iterator[str]:
    module = tree(name)
    if not ast.get_docstring(module):
        yield f"{name} (the module)"
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner in (module, *classes):
        for node in owner.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            inherited = {ast.unparse(decorator) for decorator in node.decorator_list} & {"override", "overload"}
            if not inherited and not ast.get_docstring(node):
                yield f"{name}:{node.lineno} {node.name}"


def test_everything_public_says_what_it_is():
    assert_none(
        (found for name in python_files(*ROOMS, "benchmarks") for found in undocumented(name)),
        "Write a docstring whose first line says what this is; or, if nobody else needs it, begin its name with an underscore.",
    )


def test_the_readme_names_every_command():
    # The help lists each command on a line of its own, indented by four spaces, before what it does.
    commands = re.findall(r"^ {4}([a-z-]+) ", parse([]).help, re.MULTILINE)
    assert {"run", "replay", "simulate", "query", "report", "rules", "redrive"} <= set(commands), (
        f"The console script has the commands {commands}: add those that SPEC names, or correct how this test reads the help."
    )
    assert "README.md" in tracked(), "The project has no README.md: write one that names every command."
    readme = (ROOT / "README.md").read_text("utf-8")
    assert_none(
        (f"parcelwatch {command}" for command in commands if f"parcelwatch {command}" not in readme),
        "README.md must name every command, as it is typed: add these.",
    )


# --------------------------------------------------------------------------------------------------------------- sizes


def test_no_file_is_too_long():
    lengths = {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in python_files()}
    assert_none(
        (f"{name} has {length} lines" for name, length in lengths.items() if length > FILE_LINES_MAX),
        f"A file has at most {FILE_LINES_MAX} lines: find the second subject in it, and give that a file of its own.",
    )


def test_no_function_is_too_long():
    lengths = {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name in python_files()
        for node in functions(name)
    }
    assert_none(
        (f"{where} has {length} lines" for where, length in lengths.items() if length > FUNCTION_LINES_MAX),
        f"A function has at most {FUNCTION_LINES_MAX} lines: name its steps, and let it call them.",
    )


# ---------------------------------------------------------------------------------------------------- what is not said


def test_lock_files_leave_open_where_packages_come_from():
    assert_none(
        (
            f"{file}:{number}"
            for file, number, line in texts()
            if file.endswith(".lock") and ("://" in line or "-url" in line)
        ),
        "Where packages come from is the business of the machine that installs them: lock without index URLs.",
    )


def test_no_file_names_a_path_of_somebodys_machine():
    assert_none(
        (f"{file}:{number}: {line.strip()[:80]}" for file, number, line in texts() if MACHINE_PATH.search(line)),
        "This path exists on one machine only: make it relative to the project, or a setting.",
    )


@pytest.mark.parametrize(
    ("line", "names_one"),
    [
        ("cd /" + "work/main", True),
        ('path = "/' + 'home/li/events.ndjson"', True),
        ("see /" + "root/.cache", True),
        ("C:\\" + "Users\\li", True),
        ("https://example.com/root/item", False),
        ("benchmarks/root/item", False),
        ("VOLUME /data", False),
        ("~/root/x and $HOME/home/x", False),
    ],
)
def test_a_path_of_somebodys_machine_is_recognised(line, names_one):
    assert bool(MACHINE_PATH.search(line)) == names_one
