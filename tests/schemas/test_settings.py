import os
from pathlib import Path

import pytest

from schemas.settings import Settings, SettingsError, load


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("PARCELWATCH"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def message_of(**flags: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(flags)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_anything_given_the_defaults_hold() -> None:
    assert load() == Settings()
    assert load().db == Path("parcelwatch.duckdb")


def test_a_flag_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("parcelwatch.toml").write_text('http_port = 1\ngroup_id = "file"\nlateness_days = 1')
    monkeypatch.setenv("PARCELWATCH_HTTP_PORT", "2")
    monkeypatch.setenv("PARCELWATCH_GROUP_ID", "environment")
    settings = load({"http_port": "3", "lateness_days": None})
    assert (settings.http_port, settings.group_id, settings.lateness_days) == (3, "environment", 1)


def test_the_file_may_be_named_by_flag_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.toml"
    other.write_text("http_port = 7")
    monkeypatch.setenv("PARCELWATCH_CONFIG", str(other))
    assert load().http_port == 7
    third = tmp_path / "third.toml"
    third.write_text("http_port = 8")
    assert load({"config": str(third)}).http_port == 8


def test_kafka_settings_of_file_and_environment_are_merged_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("parcelwatch.toml").write_text(
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\nsasl_plain_username = "me"\n'
        'ssl_cafile = "/ca.pem"\nfetch_max_bytes = 9'
    )
    monkeypatch.setenv("PARCELWATCH_KAFKA__SASL_PLAIN_PASSWORD", "12345")
    monkeypatch.setenv("PARCELWATCH_KAFKA__REQUEST_TIMEOUT_MS", "30000")
    monkeypatch.setenv("PARCELWATCH_KAFKA__CHECK_CRCS", "false")
    assert load({"bootstrap_servers": "a:1, b:2"}).kafka_keywords() == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "me",
        "ssl_cafile": "/ca.pem",
        "fetch_max_bytes": 9,
        "sasl_plain_password": "12345",
        "request_timeout_ms": 30000,
        "check_crcs": False,
    }


@pytest.mark.parametrize(
    ("mechanism", "says"),
    [("", "needs sasl_mechanism"), ("SCRAM-SHA-512", "needs sasl_plain_username and sasl_plain_password")],
)
def test_who_connects_needs_a_way_and_a_name_to_log_in(
    monkeypatch: pytest.MonkeyPatch, mechanism: str, says: str
) -> None:
    monkeypatch.setenv("PARCELWATCH_KAFKA__SASL_PLAIN_PASSWORD", "12345")
    monkeypatch.setenv("PARCELWATCH_KAFKA__SASL_MECHANISM", mechanism)
    load().kafka_keywords()
    monkeypatch.setenv("PARCELWATCH_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(SettingsError, match=says):
        load().kafka_keywords()
    monkeypatch.setenv("PARCELWATCH_KAFKA__SASL_MECHANISM", "OAUTHBEARER")
    load().kafka_keywords()


def test_an_unset_kafka_setting_is_left_to_the_client() -> None:
    assert load().kafka_keywords() == {"bootstrap_servers": ["localhost:9092"]}


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARCELWATCH_KAFKA__SASL_PLAIN_PASSWORD", "open sesame")
    monkeypatch.setenv("PARCELWATCH_KAFKA__SOME_OTHER_TOKEN", "open sesame")
    monkeypatch.setenv("PARCELWATCH_HASH_KEY", "open sesame 0123456789")
    assert "sesame" not in repr(load()) + str(load())
    monkeypatch.setenv("PARCELWATCH_HASH_KEY", "sesame")
    assert "sesame" not in message_of()


def test_an_empty_variable_means_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARCELWATCH_FLAGS_TOPIC", "")
    assert load().flags_topic is None


def test_an_unknown_variable_is_refused_with_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARCELWATCH_HTPP_PORT", "1")
    assert message_of() == "unknown environment variable PARCELWATCH_HTPP_PORT: did you mean PARCELWATCH_HTTP_PORT?"


def test_variables_that_kubernetes_makes_of_a_service_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARCELWATCH_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("PARCELWATCH_SERVICE_PORT_METRICS", "9464")
    monkeypatch.setenv("PARCELWATCH_PORT", "tcp://10.0.0.1:9464")
    monkeypatch.setenv("PARCELWATCH_PORT_9464_TCP_ADDR", "10.0.0.1")
    assert load() == Settings()


def test_an_unknown_key_in_the_file_is_refused_with_the_nearest_known_one() -> None:
    Path("parcelwatch.toml").write_text("latenes_days = 3")
    assert message_of() == "parcelwatch.toml: unknown setting 'latenes_days': did you mean lateness_days?"
    Path("parcelwatch.toml").write_text("xyz = 3")
    assert "unknown setting 'xyz'" in message_of()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http_port =", "not valid TOML"),
        ("http_port = 'many'", "http_port in the configuration file: input should be a valid integer"),
        ('config = "other.toml"', "unknown setting 'config'"),
        ("kafka = 3", "kafka in the configuration file"),
        ("[kafka]\nsecurity_protocol = 'TLS'", "kafka.security_protocol in the configuration file"),
    ],
)
def test_a_wrong_file_is_refused_saying_where(text: str, says: str) -> None:
    Path("parcelwatch.toml").write_text(text)
    assert says in message_of()


def test_a_file_that_is_named_must_exist_and_be_text(tmp_path: Path) -> None:
    assert "nowhere.toml does not exist" in message_of(config="nowhere.toml")
    assert "cannot be read" in message_of(config=tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"group_id = '\xff'")
    assert "UTF-8" in message_of(config="latin.toml")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("http_port", "70000", "--http-port: input should be less than or equal to 65535"),
        ("batch_records_max", "1000001", "--batch-records-max"),
        ("batch_records_max", "0", "--batch-records-max"),
        ("on_retention_gap", "stop", "'fail' or 'continue'"),
        ("timezone", "Asia/Shangai", "no time zone"),
        ("timezone", "../etc", "no time zone"),
        ("orders_topic", "two words", "--orders-topic"),
        ("hash_key", "short", "too short"),
        ("bootstrap_servers", "", "--bootstrap-servers"),
        ("flags_topic", "parcelwatch.scans", "must not be read again"),
        ("retention_days", "37", "retention_days is 37 and lateness_days 7, but must be at least 31 less"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_it_was_given_under(name: str, value: str, says: str) -> None:
    assert says in message_of(**{name: value})


def test_a_wrong_variable_is_named_as_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARCELWATCH_HTTP_PORT", "many")
    assert message_of().startswith("PARCELWATCH_HTTP_PORT: ")
    monkeypatch.setenv("PARCELWATCH_HTTP_PORT", "1")
    monkeypatch.setenv("PARCELWATCH_KAFKA", "{")
    assert message_of().startswith("PARCELWATCH_KAFKA is not a JSON object")


def test_a_retention_is_as_long_as_rules_look_back_or_there_is_none() -> None:
    assert load().retention_days is None
    assert load({"retention_days": "38"}).retention_days == 38
    assert load({"retention_days": "32", "lateness_days": "1"}).retention_days == 32


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
