"""Use cases: every door to the data calls these, and these alone call the engine."""
