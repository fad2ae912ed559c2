"""The command `rules`: what is judged, with which limits and clauses on each platform, and whether a profile is right."""

import argparse
import difflib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from detectors import RULES, Rule
from detectors._profiles import Edition, Profile, ProfileError, RuleSettings, parse_profile
from pipeline.cli import UsageError
from pipeline.output import print_table
from pipeline.running import profiles_of
from schemas.settings import Settings


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show one rule in full, or all in a line each, or check a profile; returns the exit status.

    Raises:
        UsageError: There is no such rule, or the arguments make no sense together.
    """
    if arguments.check is not None:
        if arguments.rule is not None:
            raise UsageError("either a rule or --check FILE")
        return _check(arguments.check)
    profiles = profiles_of(settings).every
    if arguments.rule is None:
        columns = {"rule": list(RULES), "what is violated": [rule.title for rule in RULES.values()]}
        columns |= {profile.platform: [_limit(profile.settings(code)) for code in RULES] for profile in profiles}
        print_table(pl.DataFrame(columns), sys.stdout)
        sys.stdout.write("one in full, with its clauses: parcelwatch rules RULE\n")
        return 0
    if arguments.rule not in RULES:
        near = difflib.get_close_matches(arguments.rule, RULES, n=1)
        hint = f"did you mean {near[0]}?" if near else "`parcelwatch rules` lists them"
        raise UsageError(f"there is no rule {arguments.rule!r}: {hint}")
    rule = RULES[arguments.rule]
    sys.stdout.write(f"{arguments.rule}: {rule.title}\n\n{_documentation(rule)}\n\n")
    rows = [row for profile in profiles for row in _rows(arguments.rule, profile)]
    frame = pl.DataFrame(rows, schema=("platform", "when", "limit", "severity", "compensation", "clause"), orient="row")
    empty = [name for name in ("when", "compensation") if not frame[name].str.len_bytes().sum()]
    print_table(frame.drop(empty), sys.stdout)
    return 0


def _check(path: Path) -> int:
    """Say of each faulty key what is wrong and what is allowed."""
    try:
        profile = parse_profile(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        sys.stderr.write(f"parcelwatch: {path}: cannot be read: {reason}\n")
        return 1
    except ProfileError as error:
        for problem in error.problems:
            sys.stderr.write(f"parcelwatch: {path}: {problem}\n")
        return 1
    judged = sum(profile.settings(code).enabled for code in RULES)
    sys.stdout.write(
        f"{path}: a valid profile of {profile.platform!r}: {judged} of {len(RULES)} rules are on"
        f"{_counted(len(profile.versions), 'later version')}{_counted(len(profile.promotions), 'promotion')}"
        f"{_counted(len(profile.shipping_categories), 'shipping category')}\n"
    )
    return 0


def _counted(count: int, what: str) -> str:
    plural = what if count == 1 else what.removesuffix("y") + "ies" if what.endswith("y") else f"{what}s"
    return f", {count} {plural}" if count else ""


def _rows(code: str, profile: Profile) -> Iterator[tuple[str, ...]]:
    """Yield what the profile says of a rule: at first, by category, and where a version or a promotion says otherwise."""
    editions = list(profile.editions())
    first = editions[0]
    yield _row(first, "", first.rules[code])
    if code == "late_shipment":
        yield from _categories(first, "")
    for edition in editions[1:]:
        if (
            code == "late_shipment"
            and edition.promotion is None
            and edition.shipping_categories != first.shipping_categories
        ):
            yield from _categories(edition, f"{_when(edition)}, ")
        if edition.promotion is not None and edition.promotion.rules.get(code) is None:
            continue
        if edition.promotion is None and edition.rules[code] == first.rules[code]:
            continue
        yield _row(edition, _when(edition), edition.rules[code])


def _categories(edition: Edition, when: str) -> Iterator[tuple[str, ...]]:
    for name, said in edition.shipping_categories.items():
        most = f", at most {said.hours_max} h" if said.hours_max is not None else ""
        yield ("", f"{when}category {name}", f"{said.hours} h{most}", "", "", "")


def _when(edition: Edition) -> str:
    since = f"from {edition.effective_from.isoformat()}" if edition.effective_from is not None else ""
    if edition.promotion is None:
        return since
    paid = f"{edition.promotion.name}: paid {edition.promotion.paid_from.isoformat()} to {edition.promotion.paid_until.isoformat()}"
    return f"{since}, {paid}" if since else paid


def _row(edition: Edition, when: str, said: RuleSettings) -> tuple[str, ...]:
    platform = "" if when else edition.platform
    if not said.enabled:
        return (platform, when, "off", "", "", "")
    owed = [f"{said.compensation_percent.normalize():f} %"] if said.compensation_percent is not None else []
    owed += [f"{said.compensation_yuan.normalize():f} yuan"] if said.compensation_yuan is not None else []
    return (platform, when, _limit(said), said.severity, " and ".join(owed), said.clause)


def _limit(said: RuleSettings) -> str:
    """A rule's threshold: `24 h`; `on` for a rule that has none, `off` for one that is not judged."""
    if not said.enabled:
        return "off"
    return "on" if said.limit_hours is None else f"{said.limit_hours:g} h"


def _documentation(rule: Rule) -> str:
    return inspect.getdoc(type(rule)) or ""
