"""The vocabulary that every other package speaks: ids, names, limits, clock, randomness, errors."""
