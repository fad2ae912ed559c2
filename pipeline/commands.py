"""The commands that are short: `query`, `rules`, `redrive` and `schema`. Each returns the exit status."""

import argparse
import difflib
import inspect
import sys

import polars as pl

from detectors import RULES, Rule
from detectors._profiles import Profile
from pipeline.cli import UsageError
from pipeline.output import dumps, format_of, print_table, write
from pipeline.reading import query as read
from pipeline.replay import Summary
from pipeline.running import Stop, opened, profiles_of
from schemas.events import json_schema
from schemas.frames import RECORDS
from schemas.settings import Settings


def query(arguments: argparse.Namespace, settings: Settings) -> int:
    """Answer one SQL question.

    Raises:
        QueryError: The database is not there, or the SQL is wrong or not allowed.
        UsageError: The arguments make no sense together.
    """
    kind = arguments.format or format_of(arguments.out)
    if kind == "parquet" and arguments.out is None:
        raise UsageError("--format parquet needs --out FILE: Parquet is not for the terminal")
    sql = sys.stdin.read() if arguments.sql == "-" else arguments.sql
    answer = read(settings.db, sql, timezone=settings.timezone)
    frame = answer.frame
    if answer.source_note:
        sys.stderr.write(f"parcelwatch: {answer.source_note}\n")
    if kind == "table" and arguments.rows and len(frame) > arguments.rows:
        sys.stderr.write(f"parcelwatch: the first {arguments.rows:,} of {len(frame):,} rows; --rows 0 shows all\n")
        frame = frame.head(arguments.rows)
    write(frame, kind, arguments.out)
    return 0


def rules(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show one rule in full, or all in a line each."""
    profiles = profiles_of(settings).every
    if arguments.rule is None:
        columns = {"rule": list(RULES), "what is violated": [rule.title for rule in RULES.values()]}
        columns |= {profile.platform: [_limit(profile, code) for code in RULES] for profile in profiles}
        print_table(pl.DataFrame(columns), sys.stdout)
        sys.stdout.write("one in full, with its clauses: parcelwatch rules RULE\n")
        return 0
    if arguments.rule not in RULES:
        near = difflib.get_close_matches(arguments.rule, RULES, n=1)
        hint = f"did you mean {near[0]}?" if near else "`parcelwatch rules` lists them"
        raise UsageError(f"there is no rule {arguments.rule!r}: {hint}")
    rule = RULES[arguments.rule]
    sys.stdout.write(f"{arguments.rule}: {rule.title}\n\n{_documentation(rule)}\n\n")
    judged = [(profile, profile.settings(arguments.rule)) for profile in profiles]
    columns = {
        "platform": [profile.platform for profile, _ in judged],
        "limit": [_limit(profile, arguments.rule) for profile, _ in judged],
        "severity": [said.severity if said.enabled else "" for _, said in judged],
        "clause": [said.clause if said.enabled else "" for _, said in judged],
    }
    print_table(pl.DataFrame(columns), sys.stdout)
    return 0


def _limit(profile: Profile, code: str) -> str:
    """A rule's threshold on a platform: `24 h`; `on` for a rule that has none, `off` for one that is not judged."""
    said = profile.settings(code)
    if not said.enabled:
        return "off"
    return "on" if said.limit_hours is None else f"{said.limit_hours:g} h"


def _documentation(rule: Rule) -> str:
    return inspect.getdoc(type(rule)) or ""


def redrive(arguments: argparse.Namespace, settings: Settings) -> int:
    """Put all dead letters through the pipeline again; those that fail again stay, with what is wrong now."""
    del arguments
    summary = Summary()
    tried = 0
    with Stop() as stop, opened(settings) as (store, engine, decoder):
        last = 0
        while not stop and len(letters := store.letters_after(last, dead_only=True)):
            last = letters["id"][-1]
            tried += len(letters)
            records = letters.select("source", "position", "recorded_at", value="raw").select(RECORDS.names())
            decoded = decoder.decode(records)
            revived = letters.join(decoded.letters, on=["source", "position", "raw"], how="anti")
            summary.add(engine.process(decoded, {}, None, redriven=revived["id"].to_list()))
    sys.stdout.write(
        f"{tried:,} dead letters tried: {summary.events:,} are events now, {summary.letters:,} are dead still\n"
        f"{summary.changed()}"
    )
    return stop.status if stop else 0


def schema(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the JSON Schema of the events."""
    del arguments, settings
    sys.stdout.write(dumps(json_schema(), indent=2) + "\n")
    return 0
