"""The view `at_risk`: deadlines that can still be met, generated from the same declarations that the rules are."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from detectors import RULES, DeadlineRule, View, deadline_of
from detectors._profiles import Edition, Profiles

_EXEMPTIONS: Final = """
exempted AS (
    SELECT order_id, rules, extended_to, applies_from, applies_until FROM order_facts WHERE type = 'exemption_granted'
    UNION ALL
    SELECT order_id, rules, extended_to, applies_from, applies_until
    FROM exemptions JOIN orders
      ON (exemptions.platform IS NULL OR exemptions.platform = orders.platform)
     AND (exemptions.merchant_id IS NULL OR exemptions.merchant_id = orders.merchant_id)
     AND (exemptions.region IS NULL OR lies_in(orders.division, exemptions.division))
)"""
_CASES: Final = """
cases AS (
    SELECT aftersales.*, paid_at, category,
           CASE WHEN kind <> 'resend' THEN opened_at END AS refund_asked_at,
           CASE WHEN kind = 'resend' THEN opened_at END AS resend_asked_at,
           CASE WHEN answer = 'agreed' THEN answered_at END AS agreed_at,
           CASE WHEN answer = 'rejected' THEN answered_at END AS rejected_at,
           kind = 'return_refund' AS wants_return
    FROM aftersales LEFT JOIN orders USING (order_id)
)"""
"""The view `aftersales` in the words of the rules about cases."""

_SUBJECTS: Final = {
    View.ORDER: ("orders", "NULL AS carrier, NULL AS waybill_no, NULL AS aftersale_id"),
    View.SHIPMENT: ("shipments", "carrier, waybill_no, NULL AS aftersale_id"),
    View.AFTERSALE: ("cases", "NULL AS carrier, NULL AS waybill_no, aftersale_id"),
}
"""Where a view's rows are in SQL, and the columns that say, besides the order, what a row is about."""


def at_risk_view(profiles: Profiles) -> str:
    """Return the SQL of `at_risk`: obligations still open at the clock, with their deadline and the time left.

    Columns: rule, clause, platform, merchant_id, order_id, carrier, waybill_no (NULL for rules about orders and cases),
    aftersale_id (NULL for all but rules about cases), deadline TIMESTAMPTZ, time_left INTERVAL (to the pipeline's clock). An
    exempt obligation is not at risk.
    """
    deadlines = {code: rule for code, rule in RULES.items() if isinstance(rule, DeadlineRule)}
    editions = profiles.editions()
    parts = [
        _EXEMPTIONS,
        _CASES,
        _by_category(editions, profiles),
        *(f"{deadline_of(code)} AS ({_deadlines(code, rule, editions)})" for code, rule in deadlines.items()),
    ]
    pending = "\nUNION ALL\n".join(
        f"SELECT '{code}' AS rule, * FROM {deadline_of(code)} "
        "WHERE enabled AND met_at IS NULL AND NOT exempt AND (lifted_at IS NULL OR lifted_at > deadline)"
        for code in deadlines
    )
    return (
        f"CREATE OR REPLACE VIEW at_risk AS WITH {', '.join(parts)}, pending AS ({pending})\n"
        "SELECT rule, clause, platform, merchant_id, order_id, carrier, waybill_no, aftersale_id, deadline,\n"
        "       deadline - clock AS time_left\n"
        "FROM pending, parcelwatch WHERE deadline >= clock;\n"
    )


def _deadlines(code: str, rule: DeadlineRule, editions: tuple[Edition, ...]) -> str:
    """Return a query with one row per order, shipment or case that has the obligation, met or not."""
    subjects, about = _SUBJECTS[rule.view]
    promised = "NULL::INTEGER" if rule.promised is None else rule.promised
    ordinary = " AND by_category.hours IS NULL" if rule.ordinary else ""
    return f"""
    WITH subject AS (
        SELECT platform, merchant_id, order_id, {about}, category, {promised} AS promised, {_started(rule)} AS started,
               {rule.met} AS met_at, {rule.lifted_by} AS lifted_at, {_edition(editions, rule.view)} AS edition
        FROM {subjects}{_joined(rule)}
        WHERE {rule.only or "true"}
    ),
    unmoved AS (
        SELECT subject.*, said.clause, said.enabled AND excluded IS NOT true{ordinary} AS enabled,
               started + to_microseconds(({_hours(rule)} * 3600000000)::BIGINT) AS due
        FROM subject JOIN ({_settings(code, editions)}) AS said USING (edition)
        LEFT JOIN by_category ON by_category.edition = subject.edition AND by_category.category = subject.category
    )
    SELECT clause, platform, merchant_id, unmoved.order_id AS order_id, carrier, waybill_no, aftersale_id, enabled, met_at,
           lifted_at,
           greatest(any_value(due), max(extended_to)) AS deadline,
           bool_or(exempted.order_id IS NOT NULL AND extended_to IS NULL) AS exempt
    FROM unmoved LEFT JOIN exempted
      ON exempted.order_id = unmoved.order_id AND list_has_any(rules, ['{code}', '*'])
     AND (applies_from IS NULL OR applies_from <= due) AND (applies_until IS NULL OR due <= applies_until)
    WHERE due IS NOT NULL
    GROUP BY ALL"""


def _joined(rule: DeadlineRule) -> str:
    """Join the deadlines that the rule may count from; those of cases go by case."""
    if rule.after is None:
        return ""
    key = "order_id, aftersale_id" if rule.view is View.AFTERSALE else "order_id"
    return f" JOIN (SELECT {key}, deadline AS earlier FROM {deadline_of(rule.after)}) USING ({key})"


def _started(rule: DeadlineRule) -> str:
    if rule.after is None:
        return rule.start
    started = "earlier" if rule.start == deadline_of(rule.after) else f"least({rule.start}, earlier)"
    return started if rule.unless is None else f"CASE WHEN {rule.unless} <= earlier THEN NULL ELSE {started} END"


def _hours(rule: DeadlineRule) -> str:
    if rule.promised is None:
        return "said.hours"
    return """CASE WHEN promoted THEN said.hours
                   WHEN promised <= coalesce(by_category.hours_max, promised) THEN promised
                   ELSE coalesce(by_category.hours, said.hours) END"""


def _edition(editions: tuple[Edition, ...], view: View) -> str:
    """Return the position of the edition that judges a row, as `pipeline.judge` chooses it."""
    first = {edition.platform: at for at, edition in reversed(list(enumerate(editions)))}
    named = [platform for platform, at in first.items() if at > 0]
    is_named = f"coalesce(platform IN ({', '.join(map(sql_text, named))}), false)" if named else "false"
    cases = []
    for at, edition in reversed(list(enumerate(editions))):
        holds = [f"platform = {sql_text(edition.platform)}" if edition.platform in named else f"NOT {is_named}"]
        if at != first[edition.platform]:
            holds += _within(view.acted_at, edition.effective_from, edition.effective_until)
        if edition.promotion is not None:
            holds += _within("paid_at", edition.promotion.paid_from, edition.promotion.paid_until)
        cases.append(f"WHEN {' AND '.join(holds)} THEN {at}")
    return f"CASE {' '.join(cases)} END"


def _within(column: str, start: datetime | None, end: datetime | None) -> list[str]:
    """Say that a time lies in a period, the end excluded."""
    bounds = ((">=", start), ("<", end))
    return [f"{column} {sign} TIMESTAMPTZ '{bound.isoformat()}'" for sign, bound in bounds if bound is not None]


def _settings(code: str, editions: tuple[Edition, ...]) -> str:
    rows = (
        f"({at}, {said.enabled}, {said.limit_hours}, {edition.promotes_shipping}, {sql_text(said.clause)})"
        for at, edition in enumerate(editions)
        for said in [edition.rules[code]]
    )
    return f"SELECT * FROM {list_of_values(rows, 'edition', 'enabled', 'hours', 'promoted', 'clause')}"


def _by_category(editions: tuple[Edition, ...], profiles: Profiles) -> str:
    rows = ["(NULL::INTEGER, NULL::VARCHAR, NULL::INTEGER, NULL::INTEGER, NULL::BOOLEAN)"]
    for at, edition in enumerate(editions):
        excluded = profiles.of(edition.platform).excluded_categories
        for name in dict.fromkeys([*edition.shipping_categories, *excluded]):
            said = edition.shipping_categories.get(name)
            hours, hours_max = (None, None) if said is None else (said.hours, said.hours_max)
            rows.append(f"({at}, {sql_text(name)}, {sql_number(hours)}, {sql_number(hours_max)}, {name in excluded})")
    names = ("edition", "category", "hours", "hours_max", "excluded")
    return f"by_category AS (SELECT * FROM {list_of_values(rows, *names)})"


def list_of_values(rows: Iterable[str], *names: str) -> str:
    """Return `rows`, each a tuple in SQL, as a table with the columns `names`."""
    return f"(VALUES {', '.join(rows)}) AS given({', '.join(names)})"


def sql_list(texts: Iterable[str]) -> str:
    """Write a list of texts, which may be empty."""
    return f"[{', '.join(map(sql_text, texts))}]::VARCHAR[]"


def sql_number(value: int | None) -> str:
    """Write a number, or NULL."""
    return "NULL" if value is None else str(value)


def sql_text(value: str) -> str:
    """Write a text as a literal."""
    return "'" + value.replace("'", "''") + "'"
