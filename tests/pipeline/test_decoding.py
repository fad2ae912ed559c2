import os
import signal

import polars as pl
import pytest
from psutil import Process

from pipeline.decode import Decoder
from pipeline.decoding import DecodingError, DecodingProcess
from schemas.frames import RECORDS

KEY = b"key of the tests"
RECORDS_FRAME = pl.DataFrame(
    {
        "value": [b'{"type":"order_cancelled","occurred_at":"2026-11-01T10:00:00Z","order_id":"o1"}', b"no JSON", None],
        "source": ["topic/0"] * 3,
        "position": [7, 8, 9],
        "recorded_at": [None] * 3,
    },
    schema=RECORDS,
)


def decoder_of(process: DecodingProcess) -> Process:
    del process
    (child,) = [child for child in Process().children() if "spawn_main" in " ".join(child.cmdline())]
    return child


def test_it_decodes_as_the_decoder_here_does_batch_after_batch() -> None:
    here = Decoder(KEY).decode(RECORDS_FRAME)
    with DecodingProcess(KEY) as elsewhere:
        for _ in range(2):
            there = elsewhere.decode(RECORDS_FRAME)
            assert there.events.equals(here.events)
            assert there.letters.equals(here.letters)
        assert elsewhere.decode(RECORDS_FRAME.clear()).events.schema == here.events.schema
        assert elsewhere.handed_over == 4


def test_signals_to_the_whole_group_do_not_end_it() -> None:
    with DecodingProcess(KEY) as process:
        process.decode(RECORDS_FRAME)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(decoder_of(process).pid, number)
        assert len(process.decode(RECORDS_FRAME).events) == 1


def test_its_death_is_an_error_that_says_what_to_do_and_closing_it_leaves_no_process() -> None:
    with DecodingProcess(KEY) as process:
        child = decoder_of(process)
        child.kill()
        with pytest.raises(DecodingError, match="run the same command again"):
            process.decode(RECORDS_FRAME)
    with DecodingProcess(KEY) as process:
        child = decoder_of(process)
    assert not child.is_running()
