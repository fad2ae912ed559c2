"""Every command and query of the README does what it says."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from detectors._profiles import parse_profile
from pipeline.reading import query
from schemas.events import parse
from schemas.settings import Settings

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands(*programs: str) -> list[list[str]]:
    lines = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line and line[0] in programs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's commands have been run, one after the other, down to those that need Kafka."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "data").mkdir()
    for _, command, *arguments in commands("parcelwatch"):
        if command == "run":
            continue
        program = [sys.executable, "-m", "pipeline", command, *arguments]
        done = subprocess.run(
            program,
            cwd=folder,
            env={"PYTHONPATH": str(PROJECT), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(['parcelwatch', command, *arguments])}: {done.stderr}"
        assert done.stdout, f"{command} printed nothing"
    return folder


def test_the_commands_that_need_no_broker_work_in_their_order(folder: Path) -> None:
    assert (folder / "data/parcelwatch.duckdb").is_file()


@pytest.mark.parametrize("sql", blocks("sql"), ids=lambda sql: " ".join(sql.split()[:9]))
def test_every_query_answers_with_rows(folder: Path, sql: str) -> None:
    assert len(query(folder / "data/parcelwatch.duckdb", sql, timezone="Asia/Shanghai").frame)


def test_the_copy_that_the_readme_names_is_there(folder: Path) -> None:
    name = re.search(r"`(\S+published\.duckdb)`", README)
    assert name
    assert (folder / "data" / name[1]).is_file()


@pytest.mark.parametrize("line", [line for block in blocks("json") for line in block.splitlines()])
def test_every_event_is_valid(line: str) -> None:
    parse(line.encode(), None)


def test_the_profile_is_valid_and_the_configuration_has_only_settings_that_exist() -> None:
    profile, configuration = blocks("toml")
    assert parse_profile(profile, "README.md").platform == "my_marketplace"
    assert set(tomllib.loads(configuration)) <= set(Settings.model_fields)


def test_the_scripts_exist_and_the_flags_of_run_are_real() -> None:
    scripts = re.findall(r"^(scripts/\w+)$", README, re.MULTILINE)
    assert set(scripts) == {"scripts/demo", "scripts/test"}
    assert all((PROJECT / script).stat().st_mode & 0o100 for script in scripts)
    (run,) = [command for command in commands("parcelwatch") if command[1] == "run"]
    shown = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert all(word in shown for word in run if word.startswith("--"))


def test_the_demo_runs_the_commands_that_the_readme_explains() -> None:
    demo = (PROJECT / "scripts/demo").read_text("utf-8")
    assert re.findall(r"parcelwatch (\w+)", demo) == ["simulate", "replay", "report"]
