"""The view `at_risk`: deadlines that can still be met, generated from the same declarations that the rules are."""

from typing import Final

from detectors import RULES, DeadlineRule, View, deadline_of
from detectors._profiles import Profiles

_EXEMPTIONS: Final = """
exemptions AS (
    SELECT order_id, rule, bool_or(extended_to IS NULL) AS exempt, max(extended_to) AS extended_to
    FROM (SELECT order_id, unnest(rules) AS rule, extended_to FROM order_facts WHERE type = 'exemption_granted')
    GROUP BY order_id, rule
)"""


def at_risk_view(profiles: Profiles) -> str:
    """Return the SQL of `at_risk`: obligations still open at the clock, with their deadline and the time left.

    Columns: rule, clause, platform, merchant_id, order_id, carrier, waybill_no (NULL for rules about orders), deadline TIMESTAMPTZ,
    time_left INTERVAL (to the pipeline's clock). An exempt obligation is not at risk.
    """
    deadlines = {code: rule for code, rule in RULES.items() if isinstance(rule, DeadlineRule)}
    parts = [
        _EXEMPTIONS,
        *(f"{deadline_of(code)} AS ({_deadline(code, rule, profiles)})" for code, rule in deadlines.items()),
    ]
    every = "\nUNION ALL BY NAME\n".join(
        f"SELECT '{code}' AS rule, * FROM {deadline_of(code)} WHERE enabled AND met_at IS NULL AND NOT exempt "
        f"AND (cancelled_at IS NULL OR cancelled_at > deadline)"
        for code in deadlines
    )
    return (
        f"CREATE OR REPLACE VIEW at_risk AS WITH {', '.join(parts)}, pending AS ({every})\n"
        "SELECT rule, clause, platform, merchant_id, order_id, carrier, waybill_no, deadline, deadline - clock AS time_left\n"
        "FROM pending, parcelwatch WHERE deadline >= clock;"
    )


def _deadline(code: str, rule: DeadlineRule, profiles: Profiles) -> str:
    """Return a query with one row per order or shipment that has the obligation, met or not."""
    subject = "orders" if rule.view is View.ORDER else "shipments"
    waybill = "NULL AS carrier, NULL AS waybill_no" if rule.view is View.ORDER else "s.carrier, s.waybill_no"
    if rule.after is None:
        start, source = f"s.{rule.start}", f"{subject} s"
    else:
        start, source = "earlier.deadline", f"{subject} s JOIN {deadline_of(rule.after)} earlier USING (order_id)"
    limit = "p.hours" if rule.promised is None else f"coalesce(s.{rule.promised}, p.hours)"
    return f"""
    SELECT p.clause, p.enabled, s.platform, s.merchant_id, s.order_id, {waybill}, s.{rule.met} AS met_at, s.cancelled_at,
           greatest(
               {start} + to_microseconds(({limit} * 3600000000)::BIGINT), e.extended_to
           ) AS deadline, coalesce(e.exempt, false) AS exempt
    FROM {source}
    JOIN ({_profiles(code, profiles)}) p
      ON p.platform = CASE WHEN s.platform IN ({_named(profiles)}) THEN s.platform ELSE 'default' END
    LEFT JOIN (
        SELECT order_id, bool_or(exempt) AS exempt, max(extended_to) AS extended_to
        FROM exemptions WHERE rule IN ('{code}', '*') GROUP BY order_id
    ) e ON e.order_id = s.order_id
    WHERE {start} IS NOT NULL"""


def _profiles(code: str, profiles: Profiles) -> str:
    rows = []
    for profile in profiles.every:
        settings = profile.settings(code)
        rows.append(
            f"({_text(profile.platform)}, {settings.enabled}, {settings.limit_hours}, {_text(settings.clause)})"
        )
    return f"SELECT * FROM (VALUES {', '.join(rows)}) AS profile(platform, enabled, hours, clause)"


def _named(profiles: Profiles) -> str:
    return ", ".join(_text(profile.platform) for profile in profiles.every)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
