"""Every command and query of the README does what it says, and the reference names what there is."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from detectors import RULES
from detectors._profiles import (
    Consequences,
    Profile,
    Promotion,
    RuleSettings,
    ShippingCategory,
    Version,
    parse_profile,
)
from pipeline.reading import query
from schemas.carriers._tables import parse_table
from schemas.events import EVENT_TYPES, parse
from schemas.settings import Settings, load

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text("utf-8")
REFERENCE = (PROJECT / "docs/reference.md").read_text("utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(*programs: str) -> list[list[str]]:
    lines = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line and line[0] in programs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's commands have been run, one after the other, down to those that need Kafka."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "data").mkdir()
    [push] = blocks("jsonc")
    (folder / "push.json").write_text(push, "utf-8")
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
    formats, table, profile, configuration = blocks("toml")
    assert load({"formats": tomllib.loads(formats)["formats"]}).topics()
    assert parse_table(table, "README.md").pattern
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


def table(heading: str) -> dict[str, list[str]]:
    """The first table under a heading of the reference: cells by what the first one names."""
    lines = REFERENCE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in rows}


def test_the_reference_has_every_type_of_event_with_every_field() -> None:
    told = table("Events")
    assert list(told) == [*dict.fromkeys(told)]
    assert told.keys() == EVENT_TYPES.keys()
    for kind, model in EVENT_TYPES.items():
        named = set(re.findall(r"`(\w+)`", " ".join(told[kind])))
        fields = model.model_fields.keys() - {"type", "occurred_at", "received_at", "event_id"}
        assert fields <= named, f"{kind}: {fields - named}"


def test_the_limits_of_the_reference_are_those_of_the_rules() -> None:
    for code, (_, _, limit, _) in table("Rules").items():
        assert limit == f"{RULES[code].limit_hours} h"


def test_the_profile_of_the_reference_is_valid_and_has_every_key() -> None:
    (text,) = blocks("toml", REFERENCE)
    parse_profile(text, "reference.md")
    for model in (Profile, RuleSettings, ShippingCategory, Consequences, Promotion, Version):
        assert all(re.search(rf"^\[*(\w+\.)*{name}\b", text, re.MULTILINE) for name in model.model_fields), model


def test_every_view_of_the_reference_has_the_columns_that_it_names(folder: Path) -> None:
    for view, (_, columns) in table("Flags, and what follows from them").items():
        told = re.findall(r"`(\w+)`", columns)
        assert query(folder / "data/parcelwatch.duckdb", f"SELECT {', '.join(told)} FROM {view} LIMIT 1")
