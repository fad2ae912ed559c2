"""Which administrative division a place as people and carriers write it lies in."""
