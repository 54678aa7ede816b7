"""python -m report.compare: two or more runs side by side, on the samples that they share."""
