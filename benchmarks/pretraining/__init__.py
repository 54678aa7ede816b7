"""What pretraining of stage 1 brings: from scratch, without a step on the table, and fine-tuned."""
