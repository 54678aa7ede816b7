"""A page in real headless Chromium: what its DOM becomes after a script, and what it writes to the console."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium")
NEEDS = pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on the PATH (Debian package chromium)")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


def opened(page, folder, script="", arguments=("--dump-dom",), virtual_time=True):
    """DOM and console lines of a page (a Path) once loaded and `script`, put at its end, has run; offline.

    virtual_time: whether timers pass at once. Without it, performance.now() is the time of the wall.
    """
    copy = folder / f"opened-{page.name}"
    copy.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    ran = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr",  # type: ignore[list-item]
         "--window-size=1300,2600", *(["--virtual-time-budget=20000"] if virtual_time else []),
         "--host-resolver-rules=MAP * ~NOTFOUND", *arguments, copy.as_uri()],
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    return ran.stdout, re.findall(r'CONSOLE[^"]*"(.*)", source', ran.stderr)
