"""Learners of a yield anomaly beside the neural heads: a Gaussian process and trees, on the features of a season."""
