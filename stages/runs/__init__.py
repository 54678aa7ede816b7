"""A run as a whole: its flags, its inputs and the earlier run, its checkpoints, and what it records."""
