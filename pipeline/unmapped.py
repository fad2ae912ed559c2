"""`parcelwatch report --unmapped`: what carriers write that no phrase table knows, so that users can extend it."""

import argparse
import sys
from typing import Final

import polars as pl

from pipeline.output import dumps, json_rows, print_table
from pipeline.reading import query
from schemas.carriers import TableError, Tables, load_tables
from schemas.settings import Settings, SettingsError

_TEXTS: Final = r"""
    SELECT regexp_replace(regexp_replace(description, '【[^】]*】', '【…】', 'g'), '[0-9]+(\*+[0-9]+)?', '0', 'g') AS text,
           count(*) AS scans, min(carrier) AS carrier, min(description) AS example
    FROM scans WHERE status = 'in_transit' AND description IS NOT NULL
    GROUP BY text ORDER BY scans DESC, text"""
"""What a scan is about, without where and when: brackets and numbers look alike. An unknown text is `in_transit`."""

_ADVICE: Final = """a table of your own tells what such a text means; put it into a folder, and name that with --carriers-dir:

  [[pattern]]
  match = '装笼'
  status = "in_transit"

"""


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the texts, the most frequent first; returns the exit status.

    Raises:
        QueryError: The database is not there or cannot be read.
        SettingsError: A table of `carriers_dir` is wrong.
    """
    try:
        tables = load_tables(settings.carriers_dir)
    except TableError as error:
        raise SettingsError(f"{error}: correct the table, or the setting carriers_dir") from error
    answer = query(settings.db, _TEXTS, timezone=settings.timezone)
    if answer.source_note:
        sys.stderr.write(f"parcelwatch: {answer.source_note}\n")
    unknown = _unknown(answer.frame, tables, arguments.top)
    if arguments.format == "json":
        sys.stdout.write(dumps({"unmapped": list(json_rows(unknown))}, indent=2) + "\n")
    elif len(unknown):
        print_table(unknown, sys.stdout, "Texts of scans in transit that no table knows")
        sys.stdout.write(f"\n{_ADVICE}")
    else:
        sys.stdout.write("the tables know the text of every scan in transit\n")
    return 0


def _unknown(texts: pl.DataFrame, tables: Tables, most: int) -> pl.DataFrame:
    """The first `most` rows whose text no pattern knows."""
    rows: list[int] = []
    for row, example in enumerate(texts["example"]):
        if tables.meaning(example) is None:
            rows.append(row)
        if len(rows) == most:
            break
    return texts[rows].select("text", "scans", "carrier")
