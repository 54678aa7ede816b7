"""A small run of render_cache.py in steps, and gc that lets it take them at chosen instants."""

from contextlib import contextmanager, suppress

import numpy as np
import pytest

import cache.fill
import cache.gc
from cache.catalog import Entry
from cache.fill import ImageWork, NotShared, draw_slab
from cache.fsck import check
from cache.gc import garbage, sweep
from cache.spec import image_spec
from cache.store import Store
from pipeline.render import draw
from tests.cached_series import STYLE

SLAB_ROWS = 8
STEPS, INSTANTS = 5, 24  # of the run, and moments of gc at which it may go on; later ones come after gc's end


def entry_of(series, images):
    """What the run claims."""
    samples, variates = series.keys.shape
    names = tuple(f"b{number}" for number in range(variates))
    ids = np.array([f"f{number}" for number in range(samples)])
    return Entry("made", "0" * 32, images, "", names, (series.window.name,), ids, series.keys[..., None])


def run_in_steps(root, series):
    """render_cache.py in small: it claims, plans, makes the namespace, draws, and writes down that it is done."""
    entry = entry_of(series, image_spec(STYLE).id)
    work = None

    def look():
        nonlocal work
        work = ImageWork.of(root, STYLE, [series], SLAB_ROWS)

    def create():
        if work.plan.slabs:
            work.store.create()

    def fill():
        for job in work._jobs():
            draw_slab(job)

    return [lambda: entry.save(root), look, create, fill, lambda: entry.save(root)]


@contextmanager
def meeting(steps, instants):
    """While it is open, gc lets the run take its k-th step at the instant instants[k]: before or after it looks.

    A worker that does not see the namespace, because gc has its spec in hand, looks again a moment later.
    """
    real, now, left = cache.gc.claims, 0, list(zip(instants, steps, strict=True))

    def instant():
        nonlocal now
        while left and left[0][0] <= now:
            with suppress(NotShared):
                left[0][1]()
                left.pop(0)
                continue
            break
        now += 1

    def watched(root):
        instant()
        found = real(root)
        instant()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache.gc, "claims", watched)
        patch.setattr(cache.fill, "PATIENCE", 0.0)
        yield
    for _, step in left:
        step()


def collect_garbage(root, max_bytes=None):
    """As `python -m cache gc --apply --min-age 0` does it."""
    known = cache.gc.claims(root)
    sweep(root, garbage(root, 0, max_bytes), known)


def refuse_unless_whole(root, series):
    keys = series.keys.reshape(-1)
    values, observed = series.select(np.arange(len(keys)))
    (store,) = Store.open_all(root, "images")  # its spec is there
    np.testing.assert_array_equal(store.reader().read(keys), draw(values, observed, STYLE))
    assert check(root, full=True) == []
