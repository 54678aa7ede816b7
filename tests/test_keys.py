from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.keys import KEY_DTYPE, colour_keys, series_keys, vertex_keys
from pipeline.render import draw, draw_vertices, vertices
from pipeline.style import GRID, PALETTE, RENDERER_VERSION, UNOBSERVED, Style
from tests.reference import Series, batches, keys_slowly, many_series

ROOT = Path(__file__).resolve().parents[1]

GOLDEN_KEY = "1b47449fbc8cb72195ad51be0b259a7f"
GOLDEN_INK = "917947f40980267ee8016b2e6ddf172b"


def golden_series() -> Series:
    """One series with a rise, a break, a dot and both clipped ends; every number is exact in float32."""
    values = np.array([[0.0, 0.125, 0.5, 0.875, 1.5, 0.0, 0.25, 0.0, -0.5, 0.0625, 0.75, 0.625]], np.float32)
    observed = np.array([[1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1]], np.bool_)
    return values, observed


def hexes(keys: NDArray[np.void]) -> list[str]:
    return [key.hex() for key in keys.tolist()]


def test_one_series_keeps_its_key_and_pixels_for_ever() -> None:
    advice = f"keys or pixels changed: raise RENDERER_VERSION (now {RENDERER_VERSION}), then renew both constants"
    assert hexes(series_keys(*golden_series(), Style())) == [GOLDEN_KEY], advice
    assert xxhash.xxh3_128_hexdigest(draw(*golden_series(), Style()).tobytes()) == GOLDEN_INK, advice


def test_a_key_is_sixteen_bytes_a_series() -> None:
    keys = series_keys(*many_series(5), Style())
    assert keys.shape == (5,)
    assert keys.dtype == KEY_DTYPE
    assert keys.itemsize == 16
    assert series_keys(*many_series(0), Style()).shape == (0,)


@settings(deadline=None, max_examples=40)
@given(batches())
def test_keys_equal_their_slow_twin(batch: Series) -> None:
    prepared = vertices(*batch, Style())
    assert vertex_keys(prepared, Style()).tolist() == keys_slowly(prepared, Style())


@settings(deadline=None, max_examples=40)
@given(batches())
def test_equal_key_is_equal_picture(batch: Series) -> None:
    style = Style(size=96)
    keys, ink = series_keys(*batch, style), draw(*batch, style)
    for i in range(len(keys)):
        for j in range(i):
            assert (keys[i] == keys[j]) == np.array_equal(ink[i], ink[j])


@pytest.mark.parametrize("steps", [2, 18, 36])
def test_the_smallest_step_of_one_vertex_changes_both_key_and_picture(steps: int) -> None:
    before = vertices(*many_series(200, steps), Style())
    before = before[(before != UNOBSERVED).any(axis=1)]
    after = before.copy()
    rng = np.random.default_rng(3)
    for row in after:
        t = rng.choice(np.flatnonzero(row != UNOBSERVED))
        row[t] += 1 if row[t] < 112 * GRID else -1
    assert (vertex_keys(before, Style()) != vertex_keys(after, Style())).all()
    assert (draw_vertices(before, Style()) != draw_vertices(after, Style())).any(axis=(1, 2)).all()


def test_less_than_half_a_grid_step_changes_neither() -> None:
    style = Style()
    first, last = style.frame
    on_grid = (np.random.default_rng(2).integers(1, last - first, (50, 12)) / (last - first)).astype(np.float32)
    nearby = (on_grid + 0.4 / (last - first)).astype(np.float32)
    seen = np.ones_like(on_grid, np.bool_)
    np.testing.assert_array_equal(series_keys(on_grid, seen, style), series_keys(nearby, seen, style))


@settings(deadline=None, max_examples=40)
@given(batches(), st.sampled_from(["fixed", "window"]), st.sampled_from([np.nan, np.inf, -1e30, 0.3]))
def test_what_lies_under_the_mask_is_not_in_the_key(batch: Series, y_range: str, filler: float) -> None:
    values, observed = batch
    style = Style(y_range=y_range)  # type: ignore[arg-type]
    other = np.where(observed, values, np.float32(filler))
    np.testing.assert_array_equal(series_keys(values, observed, style), series_keys(other, observed, style))


def test_style_length_and_mask_are_in_the_key() -> None:
    values, observed = np.full((1, 8), 0.5, np.float32), np.ones((1, 8), np.bool_)
    gap = observed.copy()
    gap[0, 3] = False
    styles = [Style(), Style(y_range="window"), Style(renderer="agg"), Style(size=225), Style(line_width=3)]
    keys = [hexes(series_keys(values, observed, style))[0] for style in styles]
    keys += hexes(series_keys(values[:, :7], observed[:, :7], Style())) + hexes(series_keys(values, gap, Style()))
    assert len(set(keys)) == len(keys)


def test_keys_do_not_depend_on_the_batch_even_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values, observed = many_series(50)
    whole = series_keys(values, observed, Style())
    monkeypatch.setattr("pipeline.keys._CHUNK", 7)
    np.testing.assert_array_equal(series_keys(values, observed, Style()), whole)
    np.testing.assert_array_equal(series_keys(values[::-1], observed[::-1], Style()), whole[::-1])


@pytest.mark.slow
def test_another_process_makes_the_same_keys() -> None:
    program = (
        "from tests.reference import many_series; from pipeline.style import PALETTE, Style\n"
        "from pipeline.keys import colour_keys, series_keys\n"
        "print(colour_keys(series_keys(*many_series(), Style(y_range='window')), PALETTE[1]).tobytes().hex())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "321", "PYTHONPATH": str(ROOT)}
    there = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    here = colour_keys(series_keys(*many_series(), Style(y_range="window")), PALETTE[1])
    assert there.stdout.strip() == here.tobytes().hex(), there.stderr


def test_a_colour_key_is_the_key_xor_the_hash_of_the_colour() -> None:
    keys = series_keys(*many_series(6), Style())
    colour = xxhash.xxh3_128_digest(bytes([0, 122, 61]))
    expected = [bytes(a ^ b for a, b in zip(key, colour, strict=True)) for key in keys.tolist()]
    assert colour_keys(keys, PALETTE[2]).tolist() == expected


def test_colours_and_pictures_never_share_a_name() -> None:
    keys = np.unique(series_keys(*many_series(200), Style()))
    named = [hexes(colour_keys(keys, colour)) for colour in PALETTE]
    assert len({name for names in named for name in names} | set(hexes(keys))) == len(keys) * (len(PALETTE) + 1)


def test_a_colour_each_equals_one_call_a_colour() -> None:
    keys = series_keys(*many_series(len(PALETTE)), Style())
    together = colour_keys(keys, PALETTE)
    assert together.dtype == KEY_DTYPE
    for i, colour in enumerate(PALETTE):
        assert together[i] == colour_keys(keys[i : i + 1], colour)[0]


def test_colours_of_the_wrong_shape_or_kind_are_refused() -> None:
    keys = series_keys(*many_series(3), Style())
    for rgb in (PALETTE[:2], np.zeros((3, 3), np.int64), np.zeros(4, np.uint8)):
        with pytest.raises(ValueError, match=r"uint8 \[3\] or \[3,3\]"):
            colour_keys(keys, rgb)  # type: ignore[arg-type]
