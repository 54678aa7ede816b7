"""Encoders, the TimesCLIP model, losses, metrics, offsets and baselines. Imports neither pipeline nor cache."""

import os

# Before torch is imported: OpenMP threads that spin while they wait make two busy cores 3 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
