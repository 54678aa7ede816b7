"""Import this first in a program. While its other modules load, two ends of it have a message and no traceback.

Ctrl-C ends it with exit 130, a missing package with exit 2. `run_program` restores the usual behaviour. A notebook or
another program that imports one of these is not affected.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import TracebackType

MISSING, INTERRUPTED = 2, 130  # exit codes
ROOT = Path(__file__).resolve().parents[1]


def end(signum: int, frame: object) -> None:
    """End the process at once. An exception could be caught by the module that is being loaded."""
    os.write(2, f"{Path(sys.argv[0]).name}: stopped. Nothing was written.\n".encode())
    os._exit(INTERRUPTED)


def name_missing_package(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """As `sys.excepthook`: end the process with a paragraph if a package is not installed for this Python."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        sys.__excepthook__(kind, error, trace)
        return
    program = Path(sys.argv[0]).name
    own = ROOT / ".venv" / "bin" / "python"
    advice = f"Use the project's own:\n    {own} {program} ...\nor install" if own.exists() else "Install"
    text = (
        f"{program}: {sys.executable} has no package {error.name}. {advice} its packages:\n    {sys.executable} -m pip "
    )
    os.write(2, f"{text}install -r {ROOT / 'requirements.txt'}\n".encode())
    os._exit(MISSING)


def is_program() -> bool:
    """Whether one of the programs of this project is being started, in the main thread."""
    started = getattr(sys.modules["__main__"], "__file__", None)
    here = started is not None and Path(started).resolve().parent == ROOT
    return here and threading.current_thread() is threading.main_thread()


def restore() -> None:
    """Bring back the usual behaviour."""
    if signal.getsignal(signal.SIGINT) is end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.excepthook is name_missing_package:
        sys.excepthook = sys.__excepthook__


if is_program():
    sys.excepthook = name_missing_package
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
