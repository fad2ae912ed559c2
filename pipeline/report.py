"""The command `report`: what is flagged, on a page. Reads like any other reader, so it works while the service runs."""

import argparse
import sys
from typing import Final

import polars as pl

from pipeline import unmapped
from pipeline.output import dumps, json_rows, print_table
from pipeline.reading import query
from schemas.settings import Settings

_COUNTS: Final = """
    count(*) FILTER (status = 'open') AS open,
    count(*) FILTER (status = 'exempt') AS exempt,
    count(*) FILTER (status = 'cleared') AS cleared,
    count(*) FILTER (status = 'at_risk') AS at_risk"""

SECTIONS: Final = {
    "state": """
        SELECT clock AS judged_as_of, (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM shipments) AS shipments,
               (SELECT count(*) FROM scans) AS scans, (SELECT count(*) FROM flags WHERE status = 'open') AS open_flags,
               (SELECT count(*) FROM dead_letters) AS dead_letters
        FROM parcelwatch""",
    "rules": """
        SELECT rule, {counts},
               count(DISTINCT merchant_id) FILTER (status = 'open') AS merchants,
               max(violated_at) FILTER (status = 'open') AS latest_violation
        FROM flags GROUP BY rule ORDER BY open DESC, rule""",
    "platforms": """
        SELECT platform, {counts}, count(DISTINCT order_id) FILTER (status = 'open') AS flagged_orders
        FROM flags GROUP BY platform ORDER BY open DESC, platform""",
    "merchants": """
        WITH flagged AS (
            SELECT platform, merchant_id, {counts}, count(DISTINCT order_id) FILTER (status = 'open') AS flagged_orders
            FROM flags GROUP BY platform, merchant_id
        ),
        all_orders AS (SELECT platform, merchant_id, count(*) AS orders FROM orders GROUP BY platform, merchant_id)
        SELECT flagged.*, orders, round(100 * flagged_orders / orders, 1) AS percent
        FROM flagged LEFT JOIN all_orders USING (platform, merchant_id)
        ORDER BY open DESC, platform, merchant_id LIMIT {top}""",
    "days": """
        SELECT violated_at::DATE AS day, {counts}
        FROM flags GROUP BY day ORDER BY day DESC LIMIT {top}""",
    "dead_letters": """
        SELECT split_part(error, ':', 1) AS problem, count(*) AS letters, min(source) AS for_example_in
        FROM dead_letters GROUP BY problem ORDER BY letters DESC, problem LIMIT {top}""",
}  # fmt: skip
"""The questions of the report. Days are cut in the time zone of the settings."""

_TITLES: Final = {
    "state": "What is known",
    "rules": "Flags by rule",
    "platforms": "Flags by platform",
    "merchants": "Merchants with the most open flags",
    "days": "Flags by day of the violation, latest first",
    "dead_letters": "Dead letters",
}


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the report; returns the exit status.

    Raises:
        QueryError: The database is not there or cannot be read.
        SettingsError: A table of `carriers_dir` is wrong.
    """
    if arguments.unmapped:
        return unmapped.run(arguments, settings)
    answers: dict[str, pl.DataFrame] = {}
    note = None
    for name, sql in SECTIONS.items():
        answer = query(settings.db, sql.format(counts=_COUNTS, top=arguments.top), timezone=settings.timezone)
        answers[name], note = answer.frame, note or answer.source_note
    if note:
        sys.stderr.write(f"parcelwatch: {note}\n")
    if arguments.format == "json":
        sys.stdout.write(dumps({name: list(json_rows(frame)) for name, frame in answers.items()}, indent=2) + "\n")
        return 0
    for name, frame in answers.items():
        if len(frame):
            print_table(frame, sys.stdout, _TITLES[name])
            sys.stdout.write("\n")
    if not len(answers["rules"]):
        sys.stdout.write("nothing is flagged\n")
    if len(answers["dead_letters"]):
        sys.stdout.write(
            'the letters themselves: parcelwatch query "FROM dead_letters"; after a fix: parcelwatch redrive\n'
        )
    return 0
