"""The command `explain`: one flag in full, so that a person can decide about it, or write an appeal."""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from detectors import RULES, DeadlineRule
from detectors._profiles import Profile
from pipeline.cli import UsageError
from pipeline.reading import QueryError, query
from pipeline.running import profiles_of
from schemas.settings import Settings

_PREFIX_MIN: Final = 6
_WIDTH: Final = 20
_SCANS_SHOWN_MAX: Final = 60

Row = Mapping[str, Any]


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write all that is known of the flag `arguments.flag_id` (or the one that begins so); returns the exit status.

    Raises:
        UsageError: That is no flag id.
        QueryError: There is no such flag, or several.
    """
    wanted = arguments.flag_id.lower()
    if not re.fullmatch(f"[0-9a-f]{{{_PREFIX_MIN},32}}", wanted):
        raise UsageError(f"{arguments.flag_id!r} is no flag id: give at least its first {_PREFIX_MIN} characters")
    ask = _Questions(settings)
    flags = ask(f"FROM flags WHERE flag_id LIKE '{wanted}%' LIMIT 3")
    if len(flags) != 1:
        found = "no flag begins so" if not flags else "several flags begin so, give more of it"
        raise QueryError(f'{wanted}: {found}; all of them: parcelwatch query "FROM flags"')
    profile = profiles_of(settings).of(flags[0]["platform"])
    sys.stdout.write("\n".join(_Explanation(flags[0], profile, ask).lines()) + "\n")
    if ask.note:
        sys.stderr.write(f"parcelwatch: {ask.note}\n")
    return 0


class _Questions:
    """Asks the database, and remembers when what it reads is behind."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.note: str | None = None

    def __call__(self, sql: str) -> Sequence[Row]:
        answer = query(self._settings.db, sql, timezone="UTC")
        self.note = self.note or answer.source_note
        return answer.frame.rows(named=True)


class _Explanation:
    def __init__(self, flag: Row, profile: Profile, ask: _Questions) -> None:
        self._flag, self._profile, self._ask = flag, profile, ask
        self._zone = ZoneInfo(profile.timezone)
        self._evidence: dict[str, Any] = json.loads(flag["evidence"])
        self._order_id = _literal(flag["order_id"])

    def lines(self) -> Iterator[str]:
        """Write the explanation, section by section."""
        yield from self._summary()
        yield from _section("What the rule says", [_in_words(self._flag["rule"])])
        yield from _section(f"What was compared (times in {self._profile.timezone})", self._comparison())
        yield from _section("What happened", self._story())
        yield from _section("What excuses it", self._exemptions())
        yield from _section("How the flag came about", self._history())

    def _summary(self) -> Iterator[str]:
        flag = self._flag
        rule = RULES.get(flag["rule"])
        yield f"{flag['rule']}: {rule.title if rule else 'a rule that is gone'}"
        yield _pair("flag", flag["flag_id"])
        reason = f": {flag['reason']}" if flag["reason"] else ""
        yield _pair("status", f"{flag['status']}{reason}")
        yield _pair("clause", flag["clause"] or "none given")
        yield _pair("severity", flag["severity"])
        yield _pair("order", f"{flag['order_id']}, of merchant {flag['merchant_id']} on {flag['platform']}")
        if flag["waybill_no"]:
            yield _pair("waybill", f"{flag['carrier']} {flag['waybill_no']}")
        if flag["aftersale_id"]:
            yield _pair("case", flag["aftersale_id"])
        word = "deadline" if flag["status"] == "at_risk" else "violated at"
        yield _pair(word, self._time(flag["violated_at"]))

    def _comparison(self) -> Iterator[str]:
        """Show the evidence; of a deadline how it is made up, and by how much it was missed."""
        evidence = dict(self._evidence)
        rule = RULES.get(self._flag["rule"])
        if not isinstance(rule, DeadlineRule) or "deadline" not in evidence:
            for name, value in evidence.items():
                yield _pair(name, self._shown(value))
            return
        start = evidence.get("counted_from") or evidence.get(rule.start)
        for name in (rule.start, "counted_from"):
            if name in evidence:
                yield _pair(name, self._shown(evidence[name]))
        yield _pair("+ limit", f"{evidence['limit_hours']:g} h")
        unmoved = _moment(start) + timedelta(hours=evidence["limit_hours"]) if start else None
        if evidence.get("extended_to"):
            yield _pair("= deadline at first", self._time(unmoved))
            yield _pair("extended to", self._shown(evidence["extended_to"]))
        deadline, met = evidence["deadline"], evidence.get(rule.met)
        yield _pair("= deadline", self._shown(deadline))
        yield _pair(rule.met, f"{self._shown(met)}{self._late(deadline, met)}")
        lifted = evidence.get(rule.lifted_by)
        if lifted:
            yield _pair(rule.lifted_by, f"{self._shown(lifted)}{self._late(deadline, lifted)}")

    def _late(self, deadline: str | None, then: str | None) -> str:
        """Say how long before or after the deadline something was; of what has not happened, how long ago the deadline was."""
        if deadline is None:
            return ""
        clock = self._ask("SELECT clock FROM parcelwatch")[0]["clock"]
        late = (_moment(then) if then else clock) - _moment(deadline)
        if then:
            return (
                f"   {_duration(late)} {'after' if late > timedelta() else 'before'} the deadline"
                if late
                else "   on it"
            )
        return f" by {self._time(clock)}" + (f", {_duration(late)} after the deadline" if late > timedelta() else "")

    def _story(self) -> list[str]:
        """Tell the order's and the parcel's events in order of time, the violation among them."""
        events = [
            (row["moment"], f"{row['what']}  {row['more'] or ''}".rstrip())
            for sql in (_ORDER_STORY, _UPLOADS_STORY, _CASES_STORY)
            for row in self._ask(sql.format(order_id=self._order_id))
        ]
        if self._flag["waybill_no"]:
            carrier, waybill_no = _literal(self._flag["carrier"]), _literal(self._flag["waybill_no"])
            scans = self._ask(_SCANS_STORY.format(order_id=self._order_id, carrier=carrier, waybill_no=waybill_no))
            # Around the violation, when there are too many.
            nearest = sorted(scans, key=lambda row: abs(row["moment"] - self._flag["violated_at"]))[:_SCANS_SHOWN_MAX]
            events += [(row["moment"], f"{row['what']}  {row['more'] or ''}".rstrip()) for row in nearest]
            if len(scans) > len(nearest):
                events.append(
                    (min(row["moment"] for row in scans), f"… {len(scans) - len(nearest)} more scans are not shown")
                )
        word = "the deadline" if isinstance(RULES.get(self._flag["rule"]), DeadlineRule) else "the violation"
        events.append((self._flag["violated_at"], f"---- {word} ----"))
        return [f"{self._time(at)}  {what}" for at, what in sorted(events)]

    def _exemptions(self) -> list[str]:
        rows = self._ask(
            _EXEMPTIONS_OF.format(
                order_id=self._order_id,
                platform=_literal(self._flag["platform"]),
                merchant_id=_literal(self._flag["merchant_id"]),
                rule=_literal(self._flag["rule"]),
            )
        )
        told = []
        for row in rows:
            until = f"deadlines moved to {self._time(row['extended_to'])}" if row["extended_to"] else "excused for good"
            period = [
                f"{word} {self._time(row[name])}"
                for word, name in (("from", "applies_from"), ("until", "applies_until"))
                if row[name]
            ]
            scope = f"  ({row['scope']})" if row["scope"] else ""
            told.append("  ".join([self._time(row["moment"]), until, *period, row["reason"] or ""]).rstrip() + scope)
        return told

    def _history(self) -> list[str]:
        rows = self._ask(_HISTORY.format(flag_id=_literal(self._flag["flag_id"])))
        return [
            f"{self._time(row['moment'])}  {row['change']}" + (f": {row['reason']}" if row["reason"] else "")
            for row in rows
        ]

    def _time(self, time: datetime | None) -> str:
        if time is None:
            return "unknown"
        local = time.astimezone(self._zone)
        return local.isoformat(" ", "microseconds" if local.microsecond else "seconds")

    def _shown(self, value: object) -> str:
        if value is None:
            return "has not happened"
        try:
            return self._time(_moment(str(value)))
        except ValueError:
            return f"{value:g}" if isinstance(value, float) else str(value)


_ORDER_STORY: Final = """
SELECT occurred_at AS moment, type AS what,
       concat_ws(', ', platform, amount || ' CNY', category, to_ship, address, reason) AS more
FROM (
    SELECT *, nullif(concat_ws(' ', province, city, district, place_text), '') AS address,
           'to be shipped within ' || ship_within_hours || ' h' AS to_ship
    FROM order_facts
    WHERE order_id = {order_id} AND type <> 'exemption_granted'
)"""
_UPLOADS_STORY: Final = """
SELECT occurred_at AS moment, CASE WHEN aftersale_id IS NULL THEN 'waybill_uploaded' ELSE 'resend_shipped' END AS what,
       concat_ws(' ', carrier, waybill_no) AS more
FROM uploads
WHERE order_id = {order_id}"""
_CASES_STORY: Final = """
SELECT occurred_at AS moment, type AS what,
       concat_ws(' ', 'case', aftersale_id, kind, answer, carrier, waybill_no, amount || ' CNY', reason) AS more
FROM aftersale_facts
WHERE order_id = {order_id}"""
_SCANS_STORY: Final = """
SELECT occurred_at AS moment, status AS what,
       concat_ws('  ', nullif(concat_ws(' ', scans.province, scans.city, scans.district, scans.place_text, facility), ''),
                 description) AS more
FROM shipments JOIN scans ON scans.carrier = scanned_carrier AND scans.waybill_no = scanned_waybill_no
WHERE order_id = {order_id} AND shipments.carrier = {carrier} AND shipments.waybill_no = {waybill_no}"""
_EXEMPTIONS_OF: Final = """
SELECT occurred_at AS moment, extended_to, applies_from, applies_until, reason, NULL AS scope
FROM order_facts
WHERE order_id = {order_id} AND type = 'exemption_granted' AND list_has_any(rules, [{rule}, '*'])
UNION ALL
SELECT occurred_at, extended_to, applies_from, applies_until, reason,
       concat_ws(', ', 'orders on ' || platform, 'of merchant ' || merchant_id, 'to ' || region)
FROM exemptions
WHERE (platform IS NULL OR platform = {platform}) AND (merchant_id IS NULL OR merchant_id = {merchant_id})
  AND (region IS NULL OR lies_in((SELECT division FROM orders WHERE order_id = {order_id}), division))
  AND list_has_any(rules, [{rule}, '*'])
ORDER BY moment"""

_HISTORY: Final = """
SELECT "at" AS moment, change, reason FROM flag_history WHERE flag_id = {flag_id} ORDER BY seq"""


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines under their title; nothing, where there are none."""
    shown = [line for text in lines for line in text.splitlines()]
    if shown:
        yield ""
        yield title
        yield from (f"  {line}".rstrip() for line in shown)


def _in_words(code: str) -> str:
    """Return the rule's documentation without its headings' sections: what is asked, and how."""
    words = inspect.getdoc(type(RULES[code])) if code in RULES else None
    return (words or "").partition("\nKnown blind spots:")[0].strip()


def _pair(name: str, value: object) -> str:
    return f"{name:{_WIDTH}} {value}"


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no moment without an offset")
    return moment


def _duration(length: timedelta) -> str:
    """Write a length of time exactly, in days, hours, minutes and seconds."""
    seconds, microseconds = divmod(abs(length) // timedelta(microseconds=1), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count]
    if microseconds:
        parts.append(f"{seconds}.{microseconds:06} s")
    elif seconds:
        parts.append(f"{seconds} s")
    return " ".join(parts)


def _literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"
