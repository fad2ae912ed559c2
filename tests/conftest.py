"""What every test may use: a real Kafka, topic names of its own, and Hypothesis profiles."""

import itertools
import os
import uuid
import warnings
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

with warnings.catch_warnings():
    # kafka-python 3.0 reads its message schemas, once, at import, in a way that Python 3.11 and 3.12 call deprecated.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from tests.broker import BOOTSTRAP_VARIABLE, Broker, BrokerUnavailableError, start_broker

# Read here and then taken away: the program itself refuses PARCELWATCH_ variables that it does not know.
_THOROUGH = os.environ.pop("PARCELWATCH_THOROUGH", None)
_BOOTSTRAP = os.environ.pop(BOOTSTRAP_VARIABLE, None)

_common = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("bounded", _common, max_examples=50)
settings.register_profile("thorough", _common, max_examples=2000)
settings.load_profile("thorough" if _THOROUGH else "bounded")


def pytest_configure(config: pytest.Config) -> None:
    # kafka-python leaves the sockets of failed connections to the garbage collector, which comes in any later test or,
    # when only the filters of this process hold, after the last one.
    config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")
    warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)


@pytest.fixture(scope="session")
def _broker() -> Iterator[Broker]:
    try:
        broker = start_broker(_BOOTSTRAP)
    except BrokerUnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    yield broker
    broker.close()


@pytest.fixture
def kafka(_broker: Broker) -> Broker:
    """A running broker, one for the whole test run. Tests share it: use `new_topic` for names of your own."""
    return _broker


@pytest.fixture
def restartable_kafka(kafka: Broker) -> Iterator[Broker]:
    """The same broker for tests that stop or kill it; it runs again afterwards, whatever the test did."""
    if not kafka.can_restart:
        pytest.skip(
            "PARCELWATCH_TEST_BOOTSTRAP names a broker that the tests may not restart; unset it to run this test"
        )
    yield kafka
    kafka.ensure_running()


@pytest.fixture
def new_topic(kafka: Broker) -> Callable[..., str]:
    """Creates a topic that no other test has: `new_topic(partitions=1, configs=None) -> name`."""
    names = unique_names()

    def create(partitions: int = 1, configs: dict[str, str] | None = None) -> str:
        return kafka.create_topic(next(names), partitions, configs)

    return create


@pytest.fixture
def topic_name() -> Callable[[], str]:
    """Names for topics that do not exist yet."""
    names = unique_names()
    return lambda: next(names)


def unique_names() -> Iterator[str]:
    """Topic names that nothing else uses, also on a broker shared with other test runs."""
    run = uuid.uuid4().hex[:12]
    return (f"parcelwatch-test-{run}-{number}" for number in itertools.count())
