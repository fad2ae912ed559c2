"""Platform profiles: which rules are on, with which limits and clauses, since when. Data in TOML; here is what it may say."""

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from detectors import RULES

DEFAULT: Final = "default"
"""The profile of every platform that has none of its own."""

_HOURS_MAX: Final = 24 * 366
_SHOWN_CHARACTERS_MAX: Final = 60


class ProfileError(ValueError):
    """A profile that cannot be used; the message names the file, and each faulty key with its value and what is allowed.

    Attributes:
        problems: The faults, one line each, without the file's name.
    """

    def __init__(self, name: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{name}: " + "; ".join(self.problems))


def _float(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


def _decimal(value: object) -> object:
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


# TOML's fractions are read as decimals, so that an amount of money is what was written.
Hours = Annotated[float, BeforeValidator(_float), Field(gt=0, le=_HOURS_MAX)]
WholeHours = Annotated[int, Field(ge=1, le=_HOURS_MAX)]
Percent = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0, le=100, max_digits=9, decimal_places=4)]
Yuan = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0, le=10_000, max_digits=9, decimal_places=2)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RuleSettings(_Strict):
    """One rule on one platform."""

    enabled: bool = Field(default=True, description="Whether the rule is judged on this platform.")
    limit_hours: Hours | None = Field(default=None, description="The rule's threshold, hours.")
    severity: Literal["low", "medium", "high"] = Field(default="medium", description="How bad it is, for sorting.")
    clause: str = Field(default="", description="The platform's clause that the rule implements.")
    compensation_percent: Percent | None = Field(
        default=None, description="Owed to the buyer, in percent of the amount paid; once per order."
    )
    compensation_yuan: Yuan | None = Field(default=None, description="Owed to the buyer for each flag, yuan.")


class ShippingCategory(_Strict):
    """How long orders of one category may take."""

    hours: WholeHours = Field(description="Where the order promises nothing, or more than `hours_max`.")
    hours_max: WholeHours | None = Field(default=None, description="The longest promise that counts.")

    @model_validator(mode="after")
    def _is_within_its_own_limit(self) -> Self:
        if self.hours_max is not None and self.hours > self.hours_max:
            raise ValueError(f"hours ({self.hours}) must not be more than hours_max ({self.hours_max})")
        return self


class Consequences(_Strict):
    """What follows from violations, where the platform's text gives a number."""

    refund_hours_without_pickup: WholeHours | None = Field(
        default=None, description="This long after the upload without a pickup, a refund needs no consent, hours."
    )
    late_inspections_max: Count | None = Field(
        default=None, description="So many daily inspections that find an order late ban its products."
    )
    out_of_stock_orders_max: Count | None = Field(
        default=None, description="More orders than this that could not be shipped ban a product."
    )
    unshipped_days_max: Count | None = Field(
        default=None, description="This long after the payment an unshipped order is closed, days."
    )


class Promotion(_Strict):
    """Other limits for orders paid in a period."""

    name: Name
    paid_from: AwareDatetime
    paid_until: AwareDatetime = Field(description="The end, which does not belong to the period.")
    rules: dict[str, RuleSettings] = {}

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.paid_until <= self.paid_from:
            raise ValueError(f"paid_until ({self.paid_until}) must be later than paid_from ({self.paid_from})")
        return self


class Version(_Strict):
    """What the platform changed, for acts from `effective_from` on."""

    effective_from: AwareDatetime
    rules: dict[str, RuleSettings] = {}
    shipping_categories: dict[Name, ShippingCategory] = {}


class Edition(NamedTuple):
    """A profile as it holds for some orders: one version, with one promotion or none."""

    platform: str
    effective_from: datetime | None
    """Since when this version has held; None: always."""
    effective_until: datetime | None
    """Until when (exclusive); None: it still does."""
    promotion: Promotion | None
    rules: Mapping[str, RuleSettings]
    """Every rule's settings, complete."""
    shipping_categories: Mapping[str, ShippingCategory]

    @property
    def promotes_shipping(self) -> bool:
        """Whether the promotion says how long orders may take, whatever was promised."""
        said = self.promotion.rules.get("late_shipment") if self.promotion is not None else None
        return said is not None and said.limit_hours is not None


class Profile(_Strict):
    """One platform: its code as in `order_paid.platform`, and what it says about each rule."""

    platform: Name
    title: str = ""
    timezone: str = Field(default="Asia/Shanghai", description="In which times are explained and days are cut.")
    transfers: Literal["anywhere", "origin_province"] = Field(
        default="anywhere", description="Where a parcel may change its number and still be judged by the new one."
    )
    excluded_categories: list[Name] = Field(default=[], description="Orders that these rules are not about.")
    rules: dict[str, RuleSettings]
    shipping_categories: dict[Name, ShippingCategory] = {}
    consequences: Consequences = Consequences()
    promotions: list[Promotion] = []
    versions: list[Version] = []

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"timezone: {self.timezone!r} is none; give a name such as Asia/Shanghai") from None
        for path, rules in self._every_rules():
            _check_rules(path, rules)
        starts = [version.effective_from for version in self.versions]
        if len(starts) != len(set(starts)):
            raise ValueError("versions: two have the same effective_from")
        by_time = sorted(self.promotions, key=lambda promotion: promotion.paid_from)
        for one, next_one in pairwise(by_time):
            if next_one.paid_from < one.paid_until:
                raise ValueError(f"promotions: {one.name!r} and {next_one.name!r} overlap; an order is in one at most")
        return self

    def _every_rules(self) -> Iterator[tuple[str, Mapping[str, RuleSettings]]]:
        yield "rules", self.rules
        for nth, version in enumerate(self.versions):
            yield f"versions.{nth}.rules", version.rules
        for nth, promotion in enumerate(self.promotions):
            yield f"promotions.{nth}.rules", promotion.rules

    def settings(self, code: str) -> RuleSettings:
        """Return what holds for the rule `code` here, at first: the profile's word, else the rule's own defaults."""
        rule, said = RULES[code], self.rules.get(code, RuleSettings(enabled=RULES[code].by_default))
        return said if said.limit_hours is not None else said.model_copy(update={"limit_hours": rule.limit_hours})

    def editions(self) -> Iterator[Edition]:
        """Yield every version, each without a promotion first and then with each; the first is what holds without dates."""
        rules = {code: self.settings(code) for code in RULES}
        categories = dict(self.shipping_categories)
        versions = sorted(self.versions, key=lambda version: version.effective_from)
        starts = [None, *(version.effective_from for version in versions), None]
        for nth in range(len(versions) + 1):
            if nth:
                rules = _changed(rules, versions[nth - 1].rules)
                categories |= versions[nth - 1].shipping_categories
            held = (self.platform, starts[nth], starts[nth + 1])
            yield Edition(*held, None, rules, dict(categories))
            for promotion in self.promotions:
                yield Edition(*held, promotion, _changed(rules, promotion.rules), dict(categories))


def _changed(rules: Mapping[str, RuleSettings], changes: Mapping[str, RuleSettings]) -> dict[str, RuleSettings]:
    """Replace what `changes` give, key by key."""
    given = {code: change.model_dump(exclude_unset=True) for code, change in changes.items()}
    return {code: said.model_copy(update=given.get(code, {})) for code, said in rules.items()}


def _check_rules(path: str, rules: Mapping[str, RuleSettings]) -> None:
    for code, settings in rules.items():
        if code not in RULES:
            raise ValueError(f"{path}.{code}: no such rule; {_nearest(code, RULES)}")
        if settings.limit_hours is not None and RULES[code].limit_hours is None:
            raise ValueError(f"{path}.{code}.limit_hours: this rule has no limit; remove the key")


class Profiles(NamedTuple):
    """All profiles; position 0 is `default`."""

    every: tuple[Profile, ...]

    def of(self, platform: str | None) -> Profile:
        """Return the profile that judges `platform`."""
        return next((profile for profile in self.every if profile.platform == platform), self.every[0])

    def editions(self) -> tuple[Edition, ...]:
        """Return the editions of all profiles; position 0 is that of `default` that holds without dates."""
        return tuple(edition for profile in self.every for edition in profile.editions())

    @classmethod
    def ordered(cls, profiles: Iterable[Profile]) -> Self:
        """Put `profiles` in order; a later one replaces an earlier one of the same platform.

        Raises:
            ProfileError: There is no `default`.
        """
        by_platform = {profile.platform: profile for profile in profiles}
        if DEFAULT not in by_platform:
            raise ProfileError("profiles", [f"none has platform = {DEFAULT!r}"])
        return cls(
            tuple(sorted(by_platform.values(), key=lambda profile: (profile.platform != DEFAULT, profile.platform)))
        )


def parse_profile(text: str, name: str) -> Profile:
    """Read one profile from TOML.

    Raises:
        ProfileError: Not TOML, or keys are unknown, missing or wrong; says which, and `name` for the file.
    """
    try:
        return Profile.model_validate(tomllib.loads(text, parse_float=Decimal))
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(name, [f"not TOML: {error}"]) from error
    except ValidationError as error:
        raise ProfileError(name, map(_problem, error.errors(include_url=False))) from error


_PLAIN_WORDS: Final = {
    "missing": "missing",
    "literal_error": "must be {expected}",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "datetime_type": "must be a time such as 2026-11-11T00:00:00+08:00, without quotes",
    "timezone_aware": "needs an offset such as +08:00",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "is_instance_of": "must be a number",
    "decimal_max_places": "must have at most {decimal_places} decimal places",
    "value_error": "{error}",
}
_TABLES: Final[dict[str, type[BaseModel]]] = {
    "rules": RuleSettings,
    "shipping_categories": ShippingCategory,
    "consequences": Consequences,
    "promotions": Promotion,
    "versions": Version,
}


def _problem(error: ErrorDetails) -> str:
    """Say in one line which key is wrong, what it is, and what is allowed."""
    kind, path = error["type"], error["loc"]
    key = ".".join(str(part) for part in path)
    if kind == "extra_forbidden":
        # The innermost table that the key stands in.
        table = next((_TABLES[part] for part in reversed(path[:-1]) if part in _TABLES), Profile)
        return f"{key}: unknown key; {_nearest(str(path[-1]), table.model_fields)}"
    words = _PLAIN_WORDS.get(kind, "{msg}").format(msg=error["msg"], **error.get("ctx", {}))
    if not key:
        return words
    return f"{key}: {words}" if kind in {"missing", "value_error"} else f"{key}: {words}, got {_shown(error['input'])}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"allowed are {', '.join(sorted(known))}"


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Decimal | datetime) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}…"
