"""Brokers that ask who is there: TLS, passwords, certificates."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaTimeoutError, SaslAuthenticationFailedError

from pipeline.kafka_connecting import SourceUnreachableError, connecting
from tests.broker import Broker, Secured
from tests.broker.secured import USERNAME
from tests.pipeline.commandline import Done, in_a_process, ndjson, open_flags, parcel, tick

pytestmark = pytest.mark.kafka

Kafka = dict[str, object]
PASSWORD = "PARCELWATCH_KAFKA__SASL_PLAIN_PASSWORD"


@pytest.fixture
def secured(kafka: Broker) -> Secured:
    if kafka.secured is None:
        pytest.skip(
            "this broker has no listeners with TLS; with Java, Maven and no PARCELWATCH_TEST_BOOTSTRAP it would"
        )
    return kafka.secured


def sasl(secured: Secured, mechanism: str = "SCRAM-SHA-512", **others: object) -> Kafka:
    asked = {"security_protocol": "SASL_SSL", "sasl_mechanism": mechanism, "sasl_plain_username": USERNAME}
    return {"bootstrap_servers": secured.sasl_bootstrap, **asked, "ssl_cafile": secured.ca, **others}


def tls(secured: Secured, **others: object) -> Kafka:
    own = {"ssl_certfile": secured.certificate, "ssl_keyfile": secured.key}
    asked = {"security_protocol": "SSL", "ssl_cafile": secured.ca}
    return {"bootstrap_servers": secured.tls_bootstrap, **asked, **own, **others}


def run(folder: Path, kafka: Kafka, password: str, **more: object) -> Done:
    """Run the service as users would: a file that holds no secret, and the password beside it."""
    top = {"http_port": 0, "bootstrap_servers": kafka["bootstrap_servers"], **more}
    client = {name: value for name, value in kafka.items() if name != "bootstrap_servers" and value is not None}
    lines = [f"{name} = {shown(value)}" for name, value in top.items()]
    lines += ["[kafka]", *(f"{name} = {shown(value)}" for name, value in client.items())]
    (folder / "parcelwatch.toml").write_text("\n".join(lines))
    return in_a_process("run", "--until-caught-up", cwd=folder, **{PASSWORD: password})


def shown(value: object) -> str:
    return json.dumps(value if isinstance(value, int) else str(value))


@pytest.mark.parametrize(
    "way", [sasl, lambda secured: sasl(secured, "PLAIN"), tls], ids=["SCRAM-SHA-512", "PLAIN", "certificate"]
)
def test_the_service_reads_and_writes_through_tls(
    kafka: Broker, secured: Secured, new_topic: Callable[..., str], tmp_path: Path, way: Callable[[Secured], Kafka]
) -> None:
    topics = {f"{name}_topic": new_topic() for name in ("orders", "scans", "flags", "letters")}
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    for line in [*ndjson([*parcel(1), *parcel(2, picked_up=False), tick(40)]).splitlines(), b"no event"]:
        producer.send(topics["scans_topic" if b'"scan"' in line else "orders_topic"], line)
    producer.close()
    done = run(tmp_path, way(secured), secured.password, **topics)
    assert done.status == 0, done.complaint
    assert secured.password not in done.complaint
    assert open_flags(tmp_path / "parcelwatch.duckdb") == {("no_pickup_scan", "o2")}
    for name, told in (("flags_topic", "no_pickup_scan"), ("letters_topic", "error")):
        consumer = KafkaConsumer(topics[name], bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        (message,) = next(iter(consumer.poll(20_000).values()))
        consumer.close()
        assert told in message.value.decode()


HUNG_UP = "socket disconnected|timed out|Timeout"
"""What the client says as well when a broker has told the reason and hung up: it is a matter of which of the two it sees first."""


@pytest.mark.parametrize(
    ("kafka_settings", "password", "reasons"),
    [
        (sasl, "wrong", f"invalid credentials|{HUNG_UP}"),
        (lambda secured: sasl(secured, "PLAIN"), "wrong", f"Invalid username or password|{HUNG_UP}"),
        (lambda secured: sasl(secured, "SCRAM-SHA-256"), "", f"UnsupportedSaslMechanismError|{HUNG_UP}"),
        (lambda secured: sasl(secured, ssl_cafile=secured.stranger), "", "certificate verify failed"),
        (lambda secured: sasl(secured, ssl_cafile="/nowhere/ca.pem"), "", "No such file"),
        (lambda secured: sasl(secured, bootstrap_servers=by_name(secured)), "", "not valid for 'localhost'"),
        (lambda secured: tls(secured, security_protocol="PLAINTEXT"), "", f"Invalid frame length|{HUNG_UP}"),
        (lambda secured: tls(secured, ssl_certfile=None, ssl_keyfile=None), "", "certificate"),
    ],
    ids=["password", "plain password", "mechanism", "authority", "no file", "host name", "no TLS", "no certificate"],
)
def test_a_broker_that_does_not_let_us_in_is_named_with_the_reason(
    secured: Secured, tmp_path: Path, kafka_settings: Callable[[Secured], Kafka], password: str, reasons: str
) -> None:
    settings = {**kafka_settings(secured), "bootstrap_timeout_ms": 2000}
    done = run(tmp_path, settings, password or secured.password)
    assert (done.status, done.out, done.complaint.count("\n")) == (1, "", 1)
    servers = re.escape(str(settings["bootstrap_servers"]))
    expected = (
        rf"parcelwatch: no connection to Kafka at {servers} within 2 s \(.*({reasons}).*\): check .* \(SASL, TLS\)\n"
    )
    assert re.fullmatch(expected, done.complaint), done.complaint


def by_name(secured: Secured) -> str:
    return secured.sasl_bootstrap.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize("level", [logging.NOTSET, logging.WARNING])
def test_of_all_that_the_client_met_the_reason_is_told_and_not_what_followed_from_it(
    caplog: pytest.LogCaptureFixture, level: int
) -> None:
    client = logging.getLogger("kafka")
    level_before = client.level
    client.setLevel(level)
    met = (KafkaConnectionError("socket disconnected"), SaslAuthenticationFailedError("who\nare you?"))

    def connect(*reasons: Exception) -> None:
        with connecting({"bootstrap_servers": "a:1", "bootstrap_timeout_ms": 1000}):
            for reason in reasons:
                logging.getLogger("kafka.net.manager").warning("Bootstrap %s failed: %s", "a", reason)
            raise KafkaTimeoutError

    try:
        with pytest.raises(
            SourceUnreachableError, match=r"^no connection to Kafka at a:1 within 1 s \(who are you\?\): "
        ):
            connect(*met, KafkaTimeoutError("timed out"))
        with pytest.raises(SourceUnreachableError, match="within 1 s: check"):
            connect()
    finally:
        client.setLevel(level_before)
    assert len(caplog.records) == (0 if level == logging.NOTSET else 3)
