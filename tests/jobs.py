"""Jobs of a matrix whose processes are lines of Python, for the tests of what runs them. Imports no torch."""

from __future__ import annotations

from verdict.runner import Job, Step

WRITES = "(out / 'result.json').write_text(json.dumps({'interrupted': False}))"


def script(folder, text):
    """A step whose process runs `text` in place of train.py; `out` is its run folder."""
    code = f"import json, pathlib; out = pathlib.Path({str(folder)!r}); out.mkdir(parents=True, exist_ok=True); {text}"
    return Step(folder.name, folder, ("-c", code))


def job(folder, *texts):
    """A job of such steps, stage1, stage2, ..."""
    return Job("an arm", 0, folder, tuple(script(folder / f"stage{i}", text) for i, text in enumerate(texts, 1)))
