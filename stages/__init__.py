"""Where table, cache and model meet: one fold of one stage, from rows to predictions. The entry points use it."""
