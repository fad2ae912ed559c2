"""What every peer is asked: `--as-of MICROSECONDS --out PATH`, and `--file PATH` or `--bootstrap SERVER --orders T --scans T`."""

import argparse
from pathlib import Path

PARSER = argparse.ArgumentParser()
PARSER.add_argument("--as-of", type=int, required=True, help="the clock, in microseconds since 1970")
PARSER.add_argument("--events", type=int, required=True, help="how long the stream is, for who cannot see its end")
PARSER.add_argument("--out", type=Path, required=True, help="where the flags go")
PARSER.add_argument("--file", type=Path, help="the stream as NDJSON")
PARSER.add_argument("--bootstrap", help="the Kafka broker that has the stream")
PARSER.add_argument("--orders", help="topic of payments and uploads, by order")
PARSER.add_argument("--scans", help="topic of scans, by waybill number")

ASKED = PARSER.parse_args()
