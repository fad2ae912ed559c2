"""Working ahead: what is made while earlier items are used, and when."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from pipeline.running import Stop, ahead


def within_a_second(condition: Callable[[], bool]) -> bool:
    give_up_at = time.monotonic() + 1
    while not condition() and time.monotonic() < give_up_at:
        time.sleep(0.005)
    return condition()


def test_the_next_item_is_begun_while_one_is_used_unless_that_is_not_hurried() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(6):
            begun.append(number)
            yield number

    with closing(ahead(items(), Stop(), depth=1, hurried=lambda number: number < 3)) as coming:
        for number in coming:
            if number < 3:
                assert within_a_second(lambda number=number: begun[-1] > number)
            else:
                time.sleep(0.05)
                assert begun[-1] == number
    assert begun == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("hurried", [True, False])
def test_an_error_is_raised_after_the_items_before_it(*, hurried: bool) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk has gone")

    seen: list[int] = []
    with pytest.raises(OSError, match="the disk has gone"):
        seen.extend(number for number in ahead(items(), Stop(), hurried=lambda _: hurried))
    assert seen == [0, 1, 2]
