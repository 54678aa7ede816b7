"""Train and forecast one fold of one stage, from table and cache to predictions; used by the entry points."""
