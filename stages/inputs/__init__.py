"""What a stage works on: rows of a fold as tensors, pictures, initial weights, and checks of new data."""
