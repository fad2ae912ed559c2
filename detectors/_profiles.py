"""Platform profiles: which rules are on, with which limits and clauses. Data in TOML; here is what it may say."""

import tomllib
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from detectors import RULES

DEFAULT: Final = "default"
"""The profile of every platform that has none of its own."""


class ProfileError(ValueError):
    """A profile that cannot be used; the message names the file, the key and what is allowed."""


class RuleSettings(BaseModel):
    """One rule on one platform."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    enabled: bool = Field(default=True, description="Whether the rule is judged on this platform.")
    limit_hours: float | None = Field(default=None, gt=0, le=24 * 366, description="The rule's threshold, hours.")
    severity: Literal["low", "medium", "high"] = Field(default="medium", description="How bad it is, for sorting.")
    clause: str = Field(default="", description="The platform's clause that the rule implements.")


class Profile(BaseModel):
    """One platform: its code as in `order_paid.platform`, and what it says about each rule."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    platform: str = Field(min_length=1, max_length=128)
    title: str = ""
    rules: dict[str, RuleSettings]

    @model_validator(mode="after")
    def _knows_its_rules(self) -> Self:
        for code, settings in self.rules.items():
            if code not in RULES:
                message = f"rules.{code}: no such rule; the rules are {', '.join(sorted(RULES))}"
                raise ValueError(message)
            if settings.limit_hours is not None and RULES[code].limit_hours is None:
                message = f"rules.{code}.limit_hours: this rule has no limit; remove the key"
                raise ValueError(message)
        return self

    def settings(self, code: str) -> RuleSettings:
        """Return what holds for the rule `code` here: the profile's word, else the rule's own defaults."""
        rule, said = RULES[code], self.rules.get(code, RuleSettings(enabled=RULES[code].by_default))
        return said if said.limit_hours is not None else said.model_copy(update={"limit_hours": rule.limit_hours})


class Profiles(NamedTuple):
    """All profiles; position 0 is `default`."""

    every: tuple[Profile, ...]

    def position(self, platform: str | None) -> int:
        """Return the position of the profile that judges `platform`."""
        return next((at for at, profile in enumerate(self.every) if profile.platform == platform), 0)

    @classmethod
    def of(cls, profiles: Iterable[Profile]) -> Self:
        """Put `profiles` in order; a later one replaces an earlier one of the same platform.

        Raises:
            ProfileError: There is no `default`.
        """
        by_platform = {profile.platform: profile for profile in profiles}
        if DEFAULT not in by_platform:
            message = f"no profile has platform = {DEFAULT!r}"
            raise ProfileError(message)
        return cls(
            tuple(sorted(by_platform.values(), key=lambda profile: (profile.platform != DEFAULT, profile.platform)))
        )


def parse_profile(text: str, name: str) -> Profile:
    """Read one profile from TOML.

    Raises:
        ProfileError: Not TOML, or a key is unknown, missing or wrong; says which, and `name` for the file.
    """
    try:
        return Profile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{name}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            model = RuleSettings if first["loc"][0] == "rules" else Profile
            problem = f"unknown key; allowed are {', '.join(model.model_fields)}"
        else:
            problem = first["msg"].removeprefix("Value error, ")
        raise ProfileError(f"{name}: {key + ': ' if key else ''}{problem}") from error
