"""The content-addressed image and embedding cache: plan, store, read. Imports pipeline, never model."""
