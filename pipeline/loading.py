"""Import this first in a program: Ctrl-C while its other modules load ends it with exit 130 and without a traceback.

`run_program` restores the usual behaviour. A notebook or another program that imports one of these is not affected.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

INTERRUPTED = 130  # exit code


def end(signum: int, frame: object) -> None:
    """End the process at once. An exception could be caught by the module that is being loaded."""
    os.write(2, f"{Path(sys.argv[0]).name}: stopped. Nothing was written.\n".encode())
    os._exit(INTERRUPTED)


def is_program() -> bool:
    """Whether one of the programs of this project is being started, and takes Ctrl-C."""
    started = getattr(sys.modules["__main__"], "__file__", None)
    here = started is not None and Path(started).resolve().parent == Path(__file__).resolve().parents[1]
    takes = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return here and takes and threading.current_thread() is threading.main_thread()


if is_program():
    signal.signal(signal.SIGINT, end)
