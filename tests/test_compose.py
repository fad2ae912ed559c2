"""docker-compose.yml and the Dockerfile agree with the program: settings, topics, commands, health and users."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import parse
from schemas.settings import ENV_PREFIX, Settings
from tests.broker.broker import IMAGE

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
# Continued lines joined: one instruction a line.
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def instructions(name: str) -> list[str]:
    return [arguments.strip() for arguments in re.findall(rf"^{name}\s+(.*)$", DOCKERFILE, re.MULTILINE)]


def variables() -> dict[str, dict[str, str]]:
    """The environment of every service, and of the image."""
    image = dict(pair.split("=", 1) for line in instructions("ENV") for pair in shlex.split(line))
    return {"Dockerfile": image} | {name: service.get("environment", {}) for name, service in SERVICES.items()}


@pytest.mark.parametrize("where", variables())
def test_every_variable_of_ours_is_a_setting_with_a_value_it_accepts(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {name: str(value) for name, value in variables()[where].items() if name.startswith(ENV_PREFIX)}
    assert {name.removeprefix(ENV_PREFIX).lower() for name in ours} <= Settings.model_fields.keys()
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    for name, value in ours.items():
        assert str(getattr(settings, name.removeprefix(ENV_PREFIX).lower())) == value


def test_all_services_mean_the_same_topics_and_all_topics_are_created() -> None:
    names = {name for name in Settings.model_fields if name.endswith("_topic")}
    topics = {name: SERVICES["pipeline"]["environment"][f"{ENV_PREFIX}{name.upper()}"] for name in names}
    for service in ("topics", "simulator"):
        for name, topic in topics.items():
            assert SERVICES[service]["environment"][f"{ENV_PREFIX}{name.upper()}"] == topic
    (script,) = SERVICES["topics"]["command"]
    created = set(re.findall(r'^create "\$\$(\w+)"', script, re.MULTILINE))
    assert created == {f"{ENV_PREFIX}{name.upper()}" for name in names}
    for name in ("orders_topic", "scans_topic"):
        assert topics[name] == Settings.model_fields[name].default


def test_clients_use_an_address_that_kafka_advertises_inside() -> None:
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    for service in OURS.values():
        assert f"INSIDE://{service['environment']['PARCELWATCH_BOOTSTRAP_SERVERS']}" in advertised.split(",")


@pytest.mark.parametrize("name", OURS)
def test_commands_are_ones_that_the_program_has(name: str) -> None:
    arguments = parse(SERVICES[name]["command"])
    assert arguments.entry is not None


def test_the_image_runs_the_service_by_default() -> None:
    assert instructions("ENTRYPOINT") == ['["parcelwatch"]']
    assert instructions("CMD")[-1] == '["run"]'


def test_only_the_service_has_a_health_check_to_answer_and_it_asks_the_port_that_the_service_opens() -> None:
    port = SERVICES["pipeline"]["environment"]["PARCELWATCH_HTTP_PORT"]
    url = f"http://localhost:{port}/healthz"
    assert url in SERVICES["pipeline"]["healthcheck"]["test"][-1]
    assert any(url in line for line in instructions("HEALTHCHECK"))
    assert str(port) in instructions("EXPOSE")
    assert f"127.0.0.1:{port}:{port}" in SERVICES["pipeline"]["ports"]
    for name in ("topics", "simulator"):
        assert SERVICES[name]["healthcheck"] == {"disable": True}


def test_services_start_when_what_they_need_is_ready() -> None:
    assert SERVICES["kafka"]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    for service in OURS.values():
        assert service["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}


def test_nothing_runs_as_root() -> None:
    (user,) = instructions("USER")
    assert user not in {"root", "0"}
    assert f" {user}" in instructions("RUN")[-1], "the image makes its user"
    for name, service in SERVICES.items():
        assert service["user"] == (user if name in OURS else "appuser")


def test_the_database_is_on_a_volume_that_outlives_the_container() -> None:
    database = Path(SERVICES["pipeline"]["environment"]["PARCELWATCH_DB"])
    (volume,) = SERVICES["pipeline"]["volumes"]
    name, folder = volume.split(":")
    assert name in COMPOSE["volumes"]
    assert Path(folder) == database.parent
    assert instructions("VOLUME") == [folder]
    assert instructions("WORKDIR")[-1] == folder


def test_ports_are_open_to_this_machine_only() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_stopping_is_by_the_signal_that_the_service_obeys() -> None:
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_the_broker_is_the_one_that_the_tests_use() -> None:
    pom = (ROOT / "tests" / "broker" / "pom.xml").read_text(encoding="utf-8")
    version = IMAGE.partition(":")[2]
    assert SERVICES["kafka"]["image"] == SERVICES["topics"]["image"] == IMAGE
    assert f"<artifactId>kafka_2.13</artifactId>\n      <version>{version}</version>" in pom


def test_the_build_context_has_what_the_image_copies_and_nothing_else() -> None:
    copied = {
        source for line in instructions("COPY") if not line.startswith("--from") for source in shlex.split(line)[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied
    assert [source for source in sorted(copied) if not (ROOT / source).exists()] == []
