"""report.html of a run: one file that opens offline, made from the run folder and the table that it read."""
