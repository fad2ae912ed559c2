"""The views that the platforms' profiles have a part in: `platforms`, `at_risk`, and what follows from violations."""

from importlib.resources import files

from detectors._profiles import Profile, Profiles
from pipeline.obligations import at_risk_view, list_of_values, sql_list, sql_number, sql_text


def profile_views(profiles: Profiles) -> str:
    """Return the SQL of these views, in the order in which they have to be made."""
    consequences = files("pipeline").joinpath("consequences.sql").read_text("utf-8")
    return at_risk_view(profiles) + _platforms(profiles) + consequences


def _platforms(profiles: Profiles) -> str:
    """Return the SQL of `platforms`, a row per profile, and of `profile_of`, which names the profile of any platform."""
    names = "profile", "title", "timezone", "excluded_categories"
    numbers = "refund_hours_without_pickup", "late_inspections_max", "out_of_stock_orders_max", "unshipped_days_max"
    rows = list_of_values((_row(profile, numbers) for profile in profiles.every), *names, *numbers)
    known = sql_list(profile.platform for profile in profiles.every)
    origin = sql_list(profile.platform for profile in profiles.every if profile.transfers == "origin_province")
    return f"""
CREATE OR REPLACE MACRO profile_of(platform) AS CASE WHEN list_contains({known}, platform) THEN platform ELSE 'default' END;
CREATE OR REPLACE MACRO transfers_of(platform) AS
    CASE WHEN list_contains({origin}, profile_of(platform)) THEN 'origin_province' ELSE 'anywhere' END;
CREATE OR REPLACE VIEW platforms AS FROM {rows};
"""


def _row(profile: Profile, numbers: tuple[str, ...]) -> str:
    excluded = sql_list(profile.excluded_categories)
    texts = map(sql_text, (profile.platform, profile.title, profile.timezone))
    given = (f"{sql_number(getattr(profile.consequences, name))}::INTEGER" for name in numbers)
    return f"({', '.join((*texts, excluded, *given))})"
