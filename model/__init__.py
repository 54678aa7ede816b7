"""Encoders, the TimesCLIP model, losses, metrics, offsets and baselines. Imports neither pipeline nor cache."""
