"""Training: a `Task` (task.py) is trained by a `Trainer` (trainer.py). No file is read or written."""
