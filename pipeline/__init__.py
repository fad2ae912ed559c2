"""What moves: sources, decoding, facts in memory, judging, the store, and the commands."""
