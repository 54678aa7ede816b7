"""Training: what is trained is a `Task` (task.py), how it is trained is a `Trainer` (loop.py). No file is touched."""
