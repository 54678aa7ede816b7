"""Jobs for tests of workers: each dies, hangs or fails, as its arguments say."""

import os
import signal
import time
from pathlib import Path


def failing_work(job):
    """Writes a mark per try, so that tries can be counted from outside."""
    folder, number, fate = job
    Path(folder, f"{number}-{time.time_ns()}").touch()
    tries = len(list(Path(folder).glob(f"{number}-*")))
    if fate == "dies" or (fate == "dies once" and tries == 1):
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    if fate == "hangs":
        time.sleep(120)
    if fate == "fails":
        raise OSError("No space left on device")
    return number
