"""What moves: sources, decoding, facts in memory, judging, the store, and the commands."""

import os

# Frames here are small, and two processes share the work: more threads of Polars in each cost more than they bring.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
