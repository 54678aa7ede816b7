"""What pretraining of stage 1 brings: from scratch, without fine-tuning on the table, and fine-tuned."""
