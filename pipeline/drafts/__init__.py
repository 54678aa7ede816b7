"""What a draft of a dataset card guesses from the columns of a table."""
