"""The content-addressed image and embedding cache: plan, store, read. Imports `pipeline`, but never `model`."""
