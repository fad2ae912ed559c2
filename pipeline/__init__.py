"""What moves: sources, decoding, facts in memory, judging, the store, and the commands."""

import os

# Polars' allocator gives memory back after half a second without use, as it waits for the next batch; to get it again, page by
# page, takes a tenth of the time. It is read when Polars is loaded.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:5000,muzzy_decay_ms:5000")

# Nothing here multiplies matrices; NumPy's library for it would start a thread for each processor, and each waits by spinning.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
