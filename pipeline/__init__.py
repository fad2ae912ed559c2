"""What moves: sources, decoding, facts in memory, judging, the store, and the commands."""

import os

# Polars' allocator gives memory back, pieces of 8 MB at once and others within seconds, while it waits for the next batch; to get
# it again, page by page, takes a tenth of the time. This is read when Polars is loaded.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:30000,muzzy_decay_ms:30000,oversize_threshold:0")

# Nothing here multiplies matrices; NumPy's library for it would start a thread for each processor, and each waits by spinning.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
