"""Encoders, the TimesCLIP model, losses, metrics, offsets and baselines.

No module here imports `pipeline` or `cache`, except the command `python -m model.export`.
"""

import os

# Set before torch is imported: OpenMP threads that spin while they wait make two busy cores 3 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
