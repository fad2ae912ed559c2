"""The command line: which commands there are, what they take, and which function runs each.

Flags that are settings are declared from `Settings` itself, so that name, default and description exist once. The functions are
named, not imported: asking for help does not load what only a running pipeline needs.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from schemas.settings import Settings

USAGE: Final = 2
"""Exit status for wrong usage or configuration."""

_KAFKA: Final = ("bootstrap_servers", "orders_topic", "scans_topic")
_JUDGING: Final = (
    "db",
    "lateness_days",
    "retention_days",
    "warn_hours",
    "profiles_dir",
    "carriers_dir",
    "copy_every_seconds",
    "memory_every_seconds",
    "query_seconds_max",
    "batch_records_max",
)
_AWARE_TIME: Final = TypeAdapter[datetime](AwareDatetime)


class UsageError(ValueError):
    """The arguments make no sense together; the message is one line."""


class Parser(argparse.ArgumentParser):
    """Wrong usage is one line that names the command to ask for help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        """End with the status of wrong usage."""
        self.exit(USAGE, f"parcelwatch: {message}: see `{self.prog} --help`\n")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Returns:
        The command's arguments, with `entry` ("module:function", called with the arguments and the settings) and `flags` (the
        settings given, by name). `entry` is None when no command was given; then `help` is the text to show.
    """
    parser = Parser(
        prog="parcelwatch",
        description="Catches false shipping (虚假发货): order events and carrier scans in, flags with evidence and clause out.",
        epilog="""start here:
  parcelwatch simulate --orders 1000 --seed 1 --out demo.ndjson
  parcelwatch replay demo.ndjson --db demo.duckdb
  parcelwatch report --db demo.duckdb

Settings come from flags, PARCELWATCH_… environment variables and parcelwatch.toml, in this order.
Exit status: 0 done, 1 failed, 2 wrong usage or configuration.""",
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="parcelwatch")
    adding = (
        _add_run,
        _add_replay,
        _add_convert,
        _add_simulate,
        _add_query,
        _add_report,
        _add_explain,
        _add_rules,
        _add_redrive,
        _add_schema,
    )
    for add in adding:
        add(commands)
    arguments = parser.parse_args(argv)
    arguments.help = parser.format_help()
    given = vars(arguments)
    arguments.entry = given.get("entry")
    arguments.flags = {name: given[name] for name in Settings.model_fields if given.get(name) is not None}
    return arguments


_Commands = argparse._SubParsersAction  # noqa: SLF001  the only name argparse has for it


def _command(commands: "_Commands[Parser]", name: str, entry: str, summary: str, example: str) -> Parser:
    parser = commands.add_parser(
        name.partition(" ")[0],
        usage=f"parcelwatch {name} [options]",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
    )
    parser.set_defaults(entry=entry)
    return parser


def _settings(parser: Parser, *names: str) -> None:
    """Add a flag for each setting. No type here: the settings check what they are given, from wherever it comes."""
    group = parser.add_argument_group("settings", "also from the environment (PARCELWATCH_<NAME>) and parcelwatch.toml")
    for name in (*names, "config"):
        field = Settings.model_fields[name]
        default = "" if field.default is None else f" (default: {field.default})"
        help_text = f"{field.description}{default}".replace("%", "%%")
        metavar = {"db": "FILE", "config": "FILE", "profiles_dir": "DIR", "carriers_dir": "DIR"}.get(
            name, name.rpartition("_")[2].upper()
        )
        group.add_argument("--" + name.replace("_", "-"), dest=name, metavar=metavar, help=help_text)


def _add_run(commands: "_Commands[Parser]") -> None:
    parser = _command(
        commands,
        "run",
        "pipeline.service:run",
        "judge the events of Kafka as they come, until stopped",
        "parcelwatch run --bootstrap-servers localhost:9092 --db parcelwatch.duckdb",
    )
    parser.add_argument(
        "--until-caught-up",
        action="store_true",
        help="stop when everything that was in the topics at the start has been judged",
    )
    _settings(
        parser,
        *_JUDGING,
        *_KAFKA,
        "flags_topic",
        "letters_topic",
        "group_id",
        "batch_wait_ms_max",
        "on_retention_gap",
        "http_host",
        "http_port",
        "summary_every_seconds",
    )


def _add_replay(commands: "_Commands[Parser]") -> None:
    parser = _command(
        commands,
        "replay PATH...",
        "pipeline.replay:run",
        "judge the events of files; run it again to go on where it was interrupted",
        "parcelwatch replay events/ more.ndjson.zst --db parcelwatch.duckdb",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="NDJSON (plain, .gz, .zst), Parquet or JSON files, folders of them, or - for standard input",
    )
    parser.add_argument(
        "--as-of",
        type=_time,
        metavar="TIME",
        help="judge as at that time, leaving out what was received later, e.g. 2026-03-01T00:00:00+08:00 (default: the end)",
    )
    _add_format(parser, "--format", "the files")
    _settings(parser, *_JUDGING)


def _add_convert(commands: "_Commands[Parser]") -> None:
    parser = _command(
        commands,
        "convert PATH...",
        "pipeline.converting:run",
        "show which events carriers' data become",
        "parcelwatch convert push.json --from kuaidi100",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="JSON files (one payload, or a list of them), NDJSON or Parquet files, folders of them, or - for standard input",
    )
    _add_format(parser, "--from", "the payloads", default="auto")
    _settings(parser, "carriers_dir")


def _add_format(parser: Parser, flag: str, whose: str, default: str | None = None) -> None:
    parser.add_argument(
        flag,
        dest="format",
        metavar="FORMAT",
        default=default,
        type=_format,
        help=f"the format of {whose}: canonical (our own events), {_formats()}; auto: by their shape "
        f"(default: {default or 'as the setting formats says, else canonical'})",
    )


def _add_simulate(commands: "_Commands[Parser]") -> None:
    parser = _command(
        commands,
        "simulate",
        "pipeline.simulating:run",
        "make a realistic stream of events with planted violations, and their labels",
        "parcelwatch simulate --orders 1000 --seed 1 --out demo.ndjson",
    )
    parser.add_argument("--orders", type=_positive, default=1000, metavar="N", help="how many orders (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="another seed, another stream (default: 1)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write NDJSON there (.gz, .zst: packed), and FILE.labels.ndjson"
    )
    parser.add_argument(
        "--start",
        type=_time,
        metavar="TIME",
        help="when the first order is paid (default: files always the same, Kafka: ends now)",
    )
    parser.add_argument(
        "--days", type=_positive, metavar="N", help="over how many days orders are paid (default: 14 or more)"
    )
    parser.add_argument(
        "--invalid-share", type=_share, metavar="X", help="invalid messages for every valid one (default: 0.0005)"
    )
    parser.add_argument(
        "--rate", type=_rate, metavar="N", help="messages a second to Kafka (default: as fast as it takes them)"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="write the labels there when the stream goes to Kafka"
    )
    _settings(parser, *_KAFKA)


def _add_query(commands: "_Commands[Parser]") -> None:
    parser = _command(
        commands,
        "query SQL",
        "pipeline.commands:query",
        "ask the database in SQL, also while the service runs",
        "parcelwatch query \"FROM flags WHERE status = 'open'\" --db parcelwatch.duckdb",
    )
    parser.add_argument(
        "sql", metavar="SQL", help="one SELECT, or - to read it from standard input; DESCRIBE flags shows columns"
    )
    parser.add_argument(
        "--format",
        choices=("table", "csv", "json", "ndjson", "parquet"),
        help="how to write the answer (default: by the ending of --out, else a table)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the answer there instead of to standard output")
    parser.add_argument(
        "--rows",
        type=_natural,
        default=100,
        metavar="N",
        help="most rows of a table; 0: all (default: 100; other formats: all)",
    )
    parser.add_argument(
        "--copy",
        action="store_true",
        help="while the service runs, read its published copy: some seconds old, but without limits of time and size",
    )
    _settings(parser, "db", "timezone")


def _add_report(commands: "_Commands[Parser]") -> None:
    parser = _command(
        commands,
        "report",
        "pipeline.report:run",
        "show what is flagged: by rule, platform, merchant and day",
        "parcelwatch report --db parcelwatch.duckdb",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="how to write it (default: table)")
    parser.add_argument(
        "--unmapped",
        action="store_true",
        help="instead, show the most frequent texts of scans in transit that no phrase table knows",
    )
    parser.add_argument(
        "--top", type=_positive, default=10, metavar="N", help="how many merchants, days or texts (default: 10)"
    )
    _settings(parser, "db", "timezone", "carriers_dir")


def _add_explain(commands: "_Commands[Parser]") -> None:
    parser = _command(
        commands,
        "explain FLAG_ID",
        "pipeline.explain:run",
        "show all about one flag: the rule, the comparison, what happened, and what excuses it",
        "parcelwatch explain 3f9c2a --db parcelwatch.duckdb",
    )
    parser.add_argument("flag_id", metavar="FLAG_ID", help="the flag's id, or its first characters (at least 6)")
    _settings(parser, "db", "profiles_dir")


def _add_rules(commands: "_Commands[Parser]") -> None:
    parser = _command(
        commands,
        "rules [RULE | --check FILE]",
        "pipeline.rules:run",
        "show the rules with their thresholds and clauses on each platform",
        "parcelwatch rules no_pickup_scan",
    )
    parser.add_argument("rule", nargs="?", metavar="RULE", help="one rule in full (default: all, a line each)")
    parser.add_argument(
        "--check", type=Path, metavar="FILE", help="say what is wrong with a profile, or that nothing is"
    )
    _settings(parser, "profiles_dir")


def _add_redrive(commands: "_Commands[Parser]") -> None:
    parser = _command(
        commands,
        "redrive",
        "pipeline.commands:redrive",
        "put the dead letters through the pipeline again",
        "parcelwatch redrive --db parcelwatch.duckdb",
    )
    _settings(parser, *_JUDGING)


def _add_schema(commands: "_Commands[Parser]") -> None:
    _command(
        commands,
        "schema",
        "pipeline.commands:schema",
        "write the JSON Schema of the events",
        "parcelwatch schema > events.schema.json",
    )


def _time(text: str) -> datetime:
    try:
        return _AWARE_TIME.validate_python(text)
    except ValidationError:
        message = f"{text!r} is no time with an offset, such as 2026-03-01T00:00:00+08:00"
        raise argparse.ArgumentTypeError(message) from None


def _formats() -> str:
    """The names of carriers' formats, which are those of their modules, without loading these."""
    modules = files("schemas").joinpath("carriers").iterdir()
    names = (entry.name.removesuffix(".py") for entry in modules if entry.name.endswith(".py"))
    return ", ".join(sorted(name for name in names if not name.startswith("_")))


def _format(text: str) -> str:
    from schemas.carriers import FORMAT_NAMES  # noqa: PLC0415  loads all formats, which most commands do without

    if text in FORMAT_NAMES:
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no format; they are {', '.join(FORMAT_NAMES)}")


def _natural(text: str) -> int:
    if text.isdecimal() and len(text) < len(str(sys.maxsize)):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")


def _share(text: str) -> float:
    return _number(text, 0, 1)


def _rate(text: str) -> float:
    return _number(text, 0.001, 1e9)


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if least <= number <= most:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")


def _positive(text: str) -> int:
    number = _natural(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too few")
    return number


def program_version() -> str:
    """The installed version; when run from a checkout, that there is none."""
    try:
        return version("parcelwatch")
    except PackageNotFoundError:
        return "(not installed)"
