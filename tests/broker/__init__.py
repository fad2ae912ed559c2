"""A real Apache Kafka for tests and benchmarks."""

from tests.broker.broker import (
    BOOTSTRAP_VARIABLE,
    Broker,
    BrokerUnavailableError,
    ForeignBroker,
    JavaBroker,
    start_broker,
)
from tests.broker.secured import Secured

__all__ = [
    "BOOTSTRAP_VARIABLE",
    "Broker",
    "BrokerUnavailableError",
    "ForeignBroker",
    "JavaBroker",
    "Secured",
    "start_broker",
]
