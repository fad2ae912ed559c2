"""Starts, stops, kills and restarts a real Apache Kafka: one KRaft node on free local ports, its data in a temporary folder.

`start_broker()` takes the first of these that there is:

1. the broker that `PARCELWATCH_TEST_BOOTSTRAP` names (it is never stopped, so tests that need that are skipped);
2. Maven and Java: Kafka's jars are resolved once into a cache folder, and the broker runs as a child process;
3. Docker: the official image, in a container that is removed at the end.
"""

import atexit
import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError

from tests.broker.secured import Secured

BOOTSTRAP_VARIABLE: Final = "PARCELWATCH_TEST_BOOTSTRAP"
POM: Final = Path(__file__).with_name("pom.xml")
IMAGE: Final = "apache/kafka:4.1.0"
READY_SECONDS_MAX: Final = 120.0
STOP_SECONDS_MAX: Final = 30.0

#: What makes a test broker quick and small, whatever starts it.
SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,TLS:SSL",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    # A killed broker may register again only when its last session is over.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.retention.check.interval.ms": "1000000",
    "log.segment.delete.delay.ms": "0",
}


class BrokerUnavailableError(Exception):
    """There is nothing to start a broker with, or it did not start; the message says what to do."""


class Broker(ABC):
    """A running Kafka broker, and what tests do to it."""

    #: Whether `stop`, `kill` and `restart` work.
    can_restart: bool = False
    #: Where it keeps its logs, if that is on this machine.
    data: Path | None = None
    #: Its listeners that let nobody in without TLS, if it has some.
    secured: Secured | None = None

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    @contextlib.contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """An admin client, closed at the end of the block."""
        client = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=int(READY_SECONDS_MAX * 1000))
        try:
            yield client
        finally:
            client.close()

    def create_topic(self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Creates a topic, waits until every partition has a leader, and returns the topic's name."""
        options = {"num_partitions": partitions, "replication_factor": 1, "configs": dict(configs or {})}
        with self.admin() as admin:
            admin.create_topics({name: options}, wait_for_metadata=True)
        return name

    def create_partitions(self, topic: str, total: int) -> None:
        """Raises the number of partitions of `topic` to `total`, and waits until they have leaders."""
        with self.admin() as admin:
            admin.create_partitions({topic: total})
            self._await(lambda: len(_partitions(admin, topic)) == total, f"{total} partitions of {topic}")
            admin.wait_for_topics([topic])

    def delete_topic(self, topic: str) -> None:
        """Deletes `topic` and waits until it is gone."""
        with self.admin() as admin:
            admin.delete_topics([topic])
            self._await(lambda: topic not in admin.list_topics(), f"the end of {topic}")

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Does what retention does: deletes the records of a partition with an offset below `before`."""
        with self.admin() as admin:
            admin.delete_records({TopicPartition(topic, partition): before})

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not condition():
            if time.monotonic() > deadline:
                raise BrokerUnavailableError(f"waited {READY_SECONDS_MAX:.0f} s in vain for {what}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Shuts down in order. The data stays until `close`."""
        raise NotImplementedError

    def kill(self) -> None:
        """Ends the broker at once, as a power cut would."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts again after `stop` or `kill`: same port, same data. Returns when the broker answers."""
        raise NotImplementedError

    def ensure_running(self) -> None:
        """Starts the broker again if it was stopped or killed."""
        raise NotImplementedError

    def restart(self) -> None:
        """`stop` and `start`."""
        self.stop()
        self.start()

    @abstractmethod
    def close(self) -> None:
        """Ends the broker, if it is ours, and removes its data. May be called twice."""

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            self._check_alive()
            try:
                # A socket first: the client would wait through its back-off, which is longer than a start.
                host, port = self.bootstrap.rsplit(":", 1)
                socket.create_connection((host, int(port)), timeout=1).close()
                client = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=5000)
                try:
                    if client.describe_cluster()["brokers"]:
                        return
                finally:
                    client.close()
            except (OSError, KafkaError) as error:
                if time.monotonic() > deadline:
                    raise BrokerUnavailableError(
                        f"no answer from Kafka at {self.bootstrap}: {error}\n{self.log()}"
                    ) from error
            time.sleep(0.05)

    def _check_alive(self) -> None:
        """Raises BrokerUnavailableError when the broker has ended by itself."""
        return

    def log(self) -> str:
        """The end of what the broker has logged."""
        return ""


class _Watchdog:
    """Runs a command when this process ends, however it ends."""

    def __init__(self, *command: str) -> None:
        # It reads from a pipe that closes when this process is gone. A session of its own: Ctrl-C must not end it first.
        self._process = subprocess.Popen(
            ["sh", "-c", 'cat >/dev/null; "$@"', "watchdog", *command],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def dismiss(self) -> None:
        # Before the pipe closes: by then a process id may be somebody else's.
        os.killpg(self._process.pid, signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class ForeignBroker(Broker):
    """A broker that somebody else runs."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap)
        self._wait_until_ready()

    def close(self) -> None:
        """Nothing: the broker is not ours."""


class JavaBroker(Broker):
    """A broker as a child process of this one, which does not outlive it."""

    can_restart = True

    def __init__(self, heap_mb: int = 512) -> None:
        port, controller_port, sasl_port, tls_port = _free_ports(4)
        super().__init__(f"127.0.0.1:{port}")
        self._jars = resolve_jars(POM, "kafka")
        self._heap = f"-Xmx{heap_mb}m"
        self._folder = Path(tempfile.mkdtemp(prefix="parcelwatch-kafka-"))
        self._log = self._folder / "broker.log"
        self.data = self._folder / "data"
        self.secured = Secured(self._folder / "tls", sasl_port, tls_port)
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: _Watchdog | None = None
        atexit.register(self.close)
        addresses = {"PLAINTEXT": port, "SASL": sasl_port, "TLS": tls_port}
        listeners = ",".join(f"{name}://127.0.0.1:{number}" for name, number in addresses.items())
        settings = (
            SETTINGS
            | self.secured.settings()
            | {
                "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller_port}",
                "advertised.listeners": listeners,
                "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
                "log.dirs": str(self.data),
            }
        )
        self._properties = self._folder / "server.properties"
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        try:
            self._format()
            self.start()
        except BaseException:
            self.close()
            raise

    def _java(self, *arguments: str) -> list[str]:
        options = [self._heap, "-XX:+UseSerialGC", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        return ["java", *options, "-cp", str(self._jars / "*"), *arguments]

    def _format(self) -> None:
        # Any 16 bytes in URL-safe base 64 are a cluster id.
        command = self._java(
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "cGFyY2Vsd2F0Y2gtdGVzdA",
            "-c",
            str(self._properties),
            *self.secured.users(),
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BrokerUnavailableError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        assert self._process is None, "the broker runs already"
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C ends the tests, and they end the broker.
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = 'kill -KILL "$1"; rm -rf "$2"'
        self._watchdog = _Watchdog("sh", "-c", end, "end", str(self._process.pid), str(self._folder))
        self._wait_until_ready()

    def ensure_running(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self.kill()
            self.start()

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None

    def close(self) -> None:
        self.kill()
        atexit.unregister(self.close)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _check_alive(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise BrokerUnavailableError(f"Kafka ended with status {self._process.returncode} at start:\n{self.log()}")

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-10_000:] if self._log.exists() else ""


class DockerBroker(Broker):
    """A broker in a container of the official image."""

    can_restart = True

    def __init__(self) -> None:
        port, *_ = _free_ports(1)
        super().__init__(f"127.0.0.1:{port}")
        # The listener that clients are sent back to must carry the port that they see.
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.quorum.voters": "1@localhost:9093",
        }
        variables = [f"-eKAFKA_{name.upper().replace('.', '_')}={value}" for name, value in settings.items()]
        self._container = _docker("run", "--detach", f"--publish=127.0.0.1:{port}:{port}", *variables, IMAGE)
        self._watchdog: _Watchdog | None = _Watchdog("docker", "rm", "--force", "--volumes", self._container)
        atexit.register(self.close)
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        _docker("start", self._container)
        self._wait_until_ready()

    def ensure_running(self) -> None:
        self.start()

    def stop(self) -> None:
        _docker("stop", self._container)

    def kill(self) -> None:
        _docker("kill", self._container)

    def close(self) -> None:
        atexit.unregister(self.close)
        if self._watchdog is None:
            return
        self._watchdog.dismiss()
        self._watchdog = None
        _docker("rm", "--force", "--volumes", self._container)

    def _check_alive(self) -> None:
        if _docker("inspect", "--format={{.State.Running}}", self._container) != "true":
            raise BrokerUnavailableError(f"Kafka's container ended at start:\n{self.log()}")

    def log(self) -> str:
        return _docker("logs", "--tail=100", self._container)


def start_broker(bootstrap: str | None = None) -> Broker:
    """The broker to use; `close` it at the end. A `bootstrap` address stands for the environment variable.

    Raises:
        BrokerUnavailableError: there is nothing to run one with, or it did not start.
    """
    if bootstrap := bootstrap or os.environ.get(BOOTSTRAP_VARIABLE):
        return ForeignBroker(bootstrap)
    if shutil.which("mvn") and shutil.which("java"):
        return JavaBroker()
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return DockerBroker()
    raise BrokerUnavailableError(
        "no Kafka to test with: install Java 17 and Maven (apt-get install openjdk-17-jre-headless maven), "
        f"or start Docker, or name a running broker in {BOOTSTRAP_VARIABLE}"
    )


def resolve_jars(pom: Path, name: str) -> Path:
    """The folder with the jars of `pom`, filled once per user and version, also when several test runs start together."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parcelwatch"
    jars = cache / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            # Renamed when complete, so that a run that is interrupted leaves nothing half done.
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}/jars"]
                done = subprocess.run(
                    ["mvn", "-q", "-B", "-f", str(pom), *goal], capture_output=True, text=True, check=False
                )
                if done.returncode != 0:
                    raise BrokerUnavailableError(
                        f"Maven could not resolve the jars of {name}:\n{done.stdout}{done.stderr}"
                    )
                Path(folder, "jars").rename(jars)
    return jars


def _free_ports(count: int) -> list[int]:
    # Below the ports that systems hand out by themselves: while the broker is down, an outgoing connection could take
    # its port, even a client's that is trying to reach it.
    ports: list[int] = []
    while len(ports) < count:
        port = secrets.choice(range(15_000, 30_000))
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


def _partitions(admin: KafkaAdminClient, topic: str) -> list[object]:
    return [partition for described in admin.describe_topics([topic]) for partition in described["partitions"]]


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BrokerUnavailableError(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
