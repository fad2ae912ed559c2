"""Every setting of parcelwatch, in one model, and the one way to load them.

A setting is given, in order of precedence, by a command-line flag, by an environment variable `PARCELWATCH_<NAME>`, by the
configuration file (`parcelwatch.toml` in the working directory, or the file named by `--config` or `PARCELWATCH_CONFIG`),
or by its default. A name that does not exist is refused wherever it stands, with the nearest one that does.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

CONFIG_FILE: Final = Path("parcelwatch.toml")
"""The configuration file that is read, if it exists, when none is named."""

ENV_PREFIX: Final = "PARCELWATCH_"

_ENV_NOT_SETTINGS: Final = frozenset({"PARCELWATCH_DEBUG"})
_ENV_OF_KUBERNETES: Final = re.compile(
    r"PARCELWATCH\w*_((SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)=.*|PORT=\w+://.*)"
)
"""What Kubernetes puts into every container when a Service's name is, or begins with, `parcelwatch`: not meant for us."""

_HASH_KEY_CHARACTERS_MIN: Final = 16

RETENTION_DAYS_MIN: Final = 31
"""What `retention_days` must have beyond `lateness_days`: the 30 days in which a waybill may not be used again, and the day by
which events may be ahead of their receipt."""


class SettingsError(ValueError):
    """A setting is wrong, unknown or unreadable. The message is one line that names it and says what to do."""


def _integer_or_truth(value: object) -> object:
    """Read `30000` and `true` as what they say: an environment variable can only hold text."""
    if isinstance(value, str):
        if value.lower() in {"true", "false"}:
            return value.lower() == "true"
        if re.fullmatch(r"-?\d{1,18}", value):
            return int(value)
    return value


class KafkaClient(BaseModel):
    """Settings of the Kafka client library, passed through under its own names.

    Those that hold a secret, or are often needed, are declared; every other keyword of `kafka.KafkaConsumer` may be given too.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Annotated[bool | int | float | str | None, BeforeValidator(_integer_or_truth)]]

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_plain_username: str | None = None
    sasl_plain_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_password: SecretStr | None = None
    ssl_check_hostname: bool = True

    def keywords(self) -> dict[str, object]:
        """What was set, as keyword arguments of the client. Holds secrets in the clear: never log it."""
        given = self.model_dump(exclude_unset=True)
        return {name: _plain(value) for name, value in given.items() if value is not None}


def _plain(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value


_TOPIC: Final = r"^[A-Za-z0-9._-]{1,249}$"
Topic = Annotated[str, StringConstraints(pattern=_TOPIC)]


def _is_glob(source: str) -> bool:
    return any(sign in source for sign in "*?[/")


class Settings(BaseSettings):
    """All settings, frozen. Each field's description is what `--help` and the documentation show."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_nested_max_split=1,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    config: Path | None = Field(
        default=None, description="TOML file with settings; without it ./parcelwatch.toml, if there"
    )
    db: Path = Field(default=Path("parcelwatch.duckdb"), description="DuckDB file with the facts and flags")

    bootstrap_servers: str = Field(
        default="localhost:9092", min_length=1, description="Kafka brokers to ask first, host:port, separated by commas"
    )
    orders_topic: Topic = Field(default="parcelwatch.orders", description="topic of order events (key: order id)")
    scans_topic: Topic = Field(default="parcelwatch.scans", description="topic of carrier scans (key: waybill number)")
    flags_topic: Topic | None = Field(
        default=None, description="topic to which changes of flags are published; none: they are not"
    )
    letters_topic: Topic | None = Field(
        default=None, description="topic to which dead letters are published; none: they are not"
    )
    group_id: str = Field(default="parcelwatch", min_length=1, description="consumer group, for lag monitors only")
    kafka: KafkaClient = Field(
        default=KafkaClient(),
        repr=False,
        description="further settings of the Kafka client: security_protocol, sasl_mechanism, ssl_cafile, …",
    )
    batch_records_max: int = Field(
        default=200_000, ge=1, le=1_000_000, description="most records judged and committed together"
    )
    batch_wait_ms_max: int = Field(
        default=200, ge=1, le=60_000, description="longest wait for a batch to fill, in milliseconds"
    )
    on_retention_gap: Literal["fail", "continue"] = Field(
        default="fail", description="when Kafka has deleted records not yet read: stop, or record the gap and go on"
    )

    lateness_days: int = Field(
        default=7, ge=1, le=3650, description="how long a finished parcel stays in memory for late facts, in days"
    )
    retention_days: int | None = Field(
        default=None,
        le=36_500,
        description="days after which what is not heard of any more is deleted, flags included; none: everything is kept",
    )
    warn_hours: float | None = Field(
        default=None,
        gt=0,
        le=24 * 366,
        description="hours before its deadline in which an obligation is flagged at_risk",
    )
    profiles_dir: Path | None = Field(default=None, description="directory of your own platform profiles (TOML)")
    formats: dict[str, str] = Field(
        default={},
        description="formats of carriers' data, by topic (read as well), or by path or name of files with * or / in it",
    )
    carriers_dir: Path | None = Field(
        default=None, description="directory of your own tables of carriers' codes and phrases (TOML)"
    )
    hash_key: SecretStr | None = Field(
        default=None,
        description="key that names and phones are hashed with; without it, a random one is kept in <db>.key",
    )
    copy_every_seconds: float = Field(
        default=10, gt=0, le=86_400, description="how often the database is copied for readers and recovery, in seconds"
    )
    memory_every_seconds: float = Field(
        default=300,
        gt=0,
        le=86_400,
        description="how often memory, once large, is written beside the database for a quick restart, in seconds",
    )
    query_seconds_max: float = Field(
        default=60,
        ge=0,
        le=86_400,
        description="how long a query to the running service may take, in seconds; 0: queries read the copy",
    )

    http_host: str = Field(
        default="127.0.0.1", min_length=1, description="address that /metrics and /healthz listen on"
    )
    http_port: int = Field(default=9464, ge=0, le=65_535, description="port of /metrics and /healthz; 0: none")
    summary_every_seconds: float = Field(
        default=30, gt=0, description="how often the service logs a summary, in seconds"
    )
    timezone: str = Field(default="Asia/Shanghai", description="time zone in which times are shown and days are cut")

    @field_validator("timezone")
    @classmethod
    def _exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is no time zone; give a name such as Asia/Shanghai or UTC") from None
        return name

    @field_validator("formats")
    @classmethod
    def _are_known(cls, formats: dict[str, str]) -> dict[str, str]:
        from schemas.carriers import FORMAT_NAMES  # noqa: PLC0415  loads all formats, which most commands do without

        for source, name in formats.items():
            if name not in FORMAT_NAMES:
                raise ValueError(f"{source!r} has no format {name!r}: {_nearest(name, FORMAT_NAMES, FORMAT_NAMES)}")
            if not _is_glob(source) and not re.fullmatch(_TOPIC, source):
                raise ValueError(f"{source!r} is no topic; a file's name needs a * or a / in it")
        return formats

    @field_validator("hash_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < _HASH_KEY_CHARACTERS_MIN:
            raise ValueError(
                f"is too short to protect phone numbers; give at least {_HASH_KEY_CHARACTERS_MIN} random characters"
            )
        return key

    @model_validator(mode="after")
    def _retention_is_long_enough(self) -> Self:
        least = RETENTION_DAYS_MIN + self.lateness_days
        if self.retention_days is not None and self.retention_days < least:
            raise ValueError(
                f"retention_days is {self.retention_days} and lateness_days {self.lateness_days}, but must be at least "
                f"{RETENTION_DAYS_MIN} less: a waybill number is watched for 30 days"
            )
        return self

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        read = {"orders_topic": self.orders_topic, "scans_topic": self.scans_topic}
        read |= {f"formats.{topic}": topic for topic in self.topics()[2:]}
        for name in ("flags_topic", "letters_topic"):
            for other, topic in read.items():
                if getattr(self, name) == topic:
                    raise ValueError(f"{name} and {other} are both {topic!r}; what is published must not be read again")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before file. There is no .env file and no directory of secrets."""
        del dotenv_settings, file_secret_settings
        named = init_settings().get("config") or os.environ.get(f"{ENV_PREFIX}CONFIG")
        in_file = _read_file(Path(named) if named else None)
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=in_file)

    def topics(self) -> tuple[str, ...]:
        """The topics to read: the two of our own, and those for which a format is declared."""
        declared = (source for source in self.formats if not _is_glob(source))
        return tuple(dict.fromkeys((self.orders_topic, self.scans_topic, *declared)))

    def kafka_keywords(self) -> dict[str, object]:
        """Keyword arguments for any Kafka client: the brokers and everything under `kafka`. Holds secrets: never log it.

        Raises:
            SettingsError: It does not say how to log in. Only who connects has to know.
        """
        client = self.kafka
        if client.security_protocol.startswith("SASL"):
            if not client.sasl_mechanism:
                raise SettingsError(f"security_protocol {client.security_protocol} needs sasl_mechanism")
            named = client.sasl_plain_username and client.sasl_plain_password
            if client.sasl_mechanism.startswith(("PLAIN", "SCRAM")) and not named:
                raise SettingsError(
                    f"sasl_mechanism {client.sasl_mechanism} needs sasl_plain_username and sasl_plain_password: "
                    f"set them in [kafka], or as {ENV_PREFIX}KAFKA__<NAME>"
                )
        servers = [server.strip() for server in self.bootstrap_servers.split(",") if server.strip()]
        return {**self.kafka.keywords(), "bootstrap_servers": servers}


def load(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force.

    Args:
        flags: what the command line gives, by field name; None means "not given".

    Raises:
        SettingsError: a value is wrong, a name unknown, or the configuration file unreadable.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    _refuse_unknown_environment()
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(_one_line(error, given)) from None
    except UnreadableError as error:
        if "formats" in str(error):
            example = '{"my.topic": "kuaidi100"}'
            raise SettingsError(f"{ENV_PREFIX}FORMATS is not a JSON object such as {example}") from None
        raise SettingsError(f"{ENV_PREFIX}KAFKA is not a JSON object: set {ENV_PREFIX}KAFKA__<NAME> instead") from None


def _read_file(named: Path | None) -> dict[str, Any]:
    """The configuration file's keys, all of them known. Without a named file, the default one may be missing."""
    path = named or CONFIG_FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if named is None:
            return {}
        raise SettingsError(f"configuration file {path} does not exist: check --config or {ENV_PREFIX}CONFIG") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"configuration file {path} cannot be read ({error}): it must be a TOML file in UTF-8"
        ) from None
    try:
        keys = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"configuration file {path} is not valid TOML ({error}): correct that line") from None
    known = Settings.model_fields.keys() - {"config"}
    for key in keys:
        if key not in known:
            raise SettingsError(f"{path}: unknown setting {key!r}: {_nearest(key, known)}")
    return keys


def _refuse_unknown_environment() -> None:
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields} | _ENV_NOT_SETTINGS
    for variable in sorted(os.environ):
        name = variable.upper()
        if not name.startswith(ENV_PREFIX) or name in known or name.startswith(f"{ENV_PREFIX}KAFKA__"):
            continue
        if not _ENV_OF_KUBERNETES.fullmatch(f"{name}={os.environ[variable]}"):
            raise SettingsError(f"unknown environment variable {variable}: {_nearest(name, known)}")


def _nearest(name: str, known: Iterable[str], shown: Iterable[str] = ()) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if matches:
        return f"did you mean {matches[0]}?"
    those = f"they are {', '.join(shown)}"
    return those if shown else "remove it, or see `parcelwatch run --help` for those that exist"


def _one_line(error: ValidationError, flags: Mapping[str, Any]) -> str:
    """The first mistake, by the name under which the user gave it. Secrets never appear: neither does any value of `kafka`."""
    first = error.errors(include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{message}: correct one of the two settings"
    field = str(first["loc"][0])
    dotted = ".".join(str(part) for part in first["loc"][: 2 if field == "kafka" else 1])
    variable = ENV_PREFIX + dotted.replace(".", "__").upper()
    if field in flags:
        where = "--" + field.replace("_", "-")
    elif variable in {name.upper() for name in os.environ}:
        where = variable
    else:
        where = f"{dotted} in the configuration file"
    return f"{where}: {message[0].lower()}{message[1:]}{_expected(field)}"


def _expected(field: str) -> str:
    """What the setting is for, as the next thing to read after what is wrong with it."""
    if field not in Settings.model_fields:
        return ""
    info = Settings.model_fields[field]
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    return f": {info.description}" + (f" ({', '.join(map(str, choices))})" if choices else "")
