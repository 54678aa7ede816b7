"""Stage 1 completes the second half of a season from the first; its pretraining, and completion without training."""
