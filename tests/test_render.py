from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.render import colourise, draw, draw_vertices, positions, vertices
from pipeline.style import PALETTE, UNOBSERVED, Style
from tests.reference import Series, batches, draw_slowly, many_series, vertices_slowly

ROOT = Path(__file__).resolve().parents[1]
SMALL = Style(size=64)

# --- the kernel against its slow twin and against matplotlib ---------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(batches(), st.sampled_from(["fixed", "window"]))
def test_vertices_equal_their_slow_twin(batch: Series, y_range: str) -> None:
    style = Style(y_range=y_range)  # type: ignore[arg-type]
    np.testing.assert_array_equal(vertices(*batch, style), vertices_slowly(*batch, style))


@settings(deadline=None, max_examples=40)
@given(
    batches(most_series=2),
    st.sampled_from([SMALL, Style(size=33, line_width=0.7, dot_diameter=5), Style(size=48, line_width=9, margin=4.5)]),
)
def test_the_kernel_equals_distance_to_every_segment_within_one_level(batch: Series, style: Style) -> None:
    prepared = vertices(*batch, style)
    fast, slow = draw_vertices(prepared, style), draw_slowly(prepared, style)
    assert np.abs(fast.astype(int) - slow.astype(int)).max() <= 1  # float32 in the kernel, float64 in the twin
    # Of a small plot one flat line at a rounding edge is 2 % of the pixels, a line of them on each side.
    assert (fast != slow).sum() <= max(0.01 * fast.size, 2 * style.size * len(fast))


def test_the_kernel_equals_distance_to_every_segment_at_full_size() -> None:
    prepared = vertices(*many_series(4), Style())
    assert np.abs(draw_vertices(prepared, Style()).astype(int) - draw_slowly(prepared, Style())).max() <= 1


# Largest values measured over 11,000 pictures at 224 px (`batches`, zigzags, ramps) stand in brackets. Along a line,
# distance and area coverage differ by up to 35 levels. More happens only where two strokes meet in a sharp notch: area
# adds up there while the kernel takes the larger, which costs about half of full ink at most.
def assert_close(ours: NDArray[np.int64], agg: NDArray[np.int64]) -> None:
    difference, inked = np.abs(ours - agg), (ours > 0) | (agg > 0)
    assert inked.any() == (ours.sum() > 0) == (agg.sum() > 0)
    if not inked.any():
        return
    assert difference.mean() <= 1.2  # over the sheet, levels of 255 [0.94: 40 steps from top to bottom in turn]
    assert difference[inked].mean() <= 10  # [8.4: short flat lines whose edge lies on half a pixel; median 2.9]
    assert difference.max() <= 150  # [126]
    assert (difference > 40).sum() <= 0.025 * inked.sum()  # [1.8 %; median 0]
    assert abs(ours.sum() / agg.sum() - 1) <= 0.05  # [0.044; median 0.003]


@settings(deadline=None, max_examples=150)
@given(batches())
@example((np.full((1, 40), 0.5, np.float32), np.ones((1, 40), np.bool_)))
@example((np.array([[0.1, 0.9]], np.float32), np.ones((1, 2), np.bool_)))
@example(((np.arange(40, dtype=np.float32) % 2)[None], np.ones((1, 40), np.bool_)))
@example((np.full((1, 9), 0.3, np.float32), np.arange(9)[None] == 4))
def test_every_pixel_is_close_to_matplotlib(batch: Series) -> None:
    ours, agg = draw(*batch, Style()).astype(int), draw(*batch, Style(renderer="agg")).astype(int)
    for i in range(len(ours)):
        assert_close(ours[i], agg[i])


def test_agg_shares_the_pixel_grid_with_the_kernel() -> None:
    prepared = vertices(*many_series(16), Style())
    ours = draw_vertices(prepared, Style()).astype(int)
    agg = Style(renderer="agg")
    shifted = [np.abs(draw_vertices(_moved(prepared, by), agg) - ours).mean() for by in (-1, 0, 1)]  # 1/16 px
    assert shifted[1] < 0.8 * min(shifted[0], shifted[2])


def _moved(prepared: NDArray[np.int16], by: int) -> NDArray[np.int16]:
    first, last = Style().frame
    return np.where(prepared == UNOBSERVED, prepared, np.clip(prepared + by, first, last)).astype(np.int16)


# --- what a picture may and may not depend on -------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(batches(), st.sampled_from(["fixed", "window"]), st.sampled_from([np.nan, np.inf, -1e30, 0.3]))
def test_what_lies_under_the_mask_changes_nothing(batch: Series, y_range: str, filler: float) -> None:
    values, observed = batch
    style = Style(size=64, y_range=y_range)  # type: ignore[arg-type]
    other = np.where(observed, values, np.float32(filler))
    np.testing.assert_array_equal(draw(values, observed, style), draw(other, observed, style))


@pytest.mark.parametrize("y_range", ["fixed", "window"])
@pytest.mark.parametrize("renderer", ["numba", "agg"])
def test_a_series_looks_the_same_in_every_batch_and_memory_layout(y_range: str, renderer: str) -> None:
    values, observed = many_series(24)
    style = Style(size=64, y_range=y_range, renderer=renderer)  # type: ignore[arg-type]
    whole = draw(values, observed, style)
    shuffled = np.random.default_rng(1).permutation(24)
    np.testing.assert_array_equal(draw(values[shuffled], observed[shuffled], style), whole[shuffled])
    np.testing.assert_array_equal(
        np.concatenate([draw(values[i : i + 1], observed[i : i + 1], style) for i in range(24)]), whole
    )
    columns = np.asfortranarray(values), np.asfortranarray(observed)
    np.testing.assert_array_equal(draw(*columns, style), whole)
    cube, mask = np.stack([values] * 3, axis=1), np.stack([observed] * 3, axis=1)
    cube.setflags(write=False)
    np.testing.assert_array_equal(draw(cube[:, 1], mask[:, 1], style), whole)


@pytest.mark.slow
def test_another_process_on_a_plainer_processor_draws_the_same_bytes() -> None:
    program = (
        "import xxhash; from tests.reference import many_series\n"
        "from pipeline.render import draw; from pipeline.style import Style\n"
        "ink = [draw(*many_series(), Style(y_range=r)).tobytes() for r in ('fixed', 'window')]\n"
        "print(xxhash.xxh3_128_hexdigest(b''.join(ink)), Style().digest)"
    )
    # `generic` compiles without AVX and fused multiply-add, as for the oldest machine that could share a cache.
    environment = {**os.environ, "PYTHONHASHSEED": "123", "PYTHONPATH": str(ROOT), "NUMBA_CPU_NAME": "generic"}
    there = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    ink = b"".join(draw(*many_series(), style).tobytes() for style in (Style(), Style(y_range="window")))
    assert there.stdout.split() == [xxhash.xxh3_128_hexdigest(ink), Style().digest], there.stderr


@settings(deadline=None, max_examples=40)
@given(batches(), st.floats(-50, 50), st.floats(1e-3, 1e3))
def test_window_ignores_level_and_positive_scale(batch: Series, level: float, factor: float) -> None:
    values, observed = batch
    wide = values.astype(np.float64)
    moved = (wide * factor + level).astype(np.float32)
    spread = np.where(observed, wide, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy warns of series without an observation
        std = np.nanstd(spread, axis=1)
    # float32 keeps a shape only where it is not drowned by the level; constants stay constant anyway.
    clear = (std == 0) | (std * factor > 0.01 * abs(level))
    window = Style(y_range="window")
    before, after = vertices(values, observed, window)[clear], vertices(moved, observed, window)[clear]
    assert np.abs(before.astype(int) - after.astype(int)).max(initial=0) <= 1


def test_window_spans_three_standard_deviations_and_clips_the_rest() -> None:
    values = np.zeros((1, 101), np.float32)
    values[0, 50] = 1.0  # z = 10
    prepared = vertices(values, np.ones_like(values, np.bool_), Style(y_range="window"))[0]
    first, last = Style().frame
    assert prepared[50] == first
    assert prepared[0] == last - round((3 - 0.1) / 6 * (last - first))


@pytest.mark.parametrize("constant", [0.0, 0.1, -273.15, 1e30, 1e-30])
def test_window_draws_a_constant_in_the_middle(constant: float) -> None:
    values = np.full((1, 36), constant, np.float32)
    values[0, ::2] = np.nextafter(values[0, 0], np.float32(np.inf)) if constant not in (0.0, 1e-30) else constant
    prepared = vertices(values, np.ones_like(values, np.bool_), Style(y_range="window"))
    assert set(prepared[0].tolist()) == {224 * 16 // 2}


# --- lines, breaks, dots ----------------------------------------------------------------------------------------


def test_fixed_puts_zero_at_the_bottom_one_at_the_top_and_clips_beyond() -> None:
    values = np.array([[0, 1, -5, 9, 0.5]], np.float32)
    prepared = vertices(values, np.ones_like(values, np.bool_), Style(margin=5))
    assert prepared.tolist() == [[219 * 16, 5 * 16, 219 * 16, 5 * 16, 112 * 16]]


def test_steps_are_evenly_spaced_between_the_margins() -> None:
    assert positions(5, Style(margin=12)).tolist() == [12 * 16, 62 * 16, 112 * 16, 162 * 16, 212 * 16]
    assert positions(1, Style()).tolist() == [112 * 16]


def test_a_flat_line_has_the_stated_width_and_round_ends() -> None:
    ink = draw(np.full((1, 9), 0.5, np.float32), np.ones((1, 9), np.bool_), Style(line_width=4, margin=8))[0]
    assert ink[:, 100].nonzero()[0].tolist() == [110, 111, 112, 113]
    assert (ink[110:114, 100] == 255).all()
    assert (ink[109:115, 8:216].sum(axis=0) == 4 * 255).all()
    assert ink[112, 6] > ink[110, 6]  # the corner of the cap is rounded off
    assert (ink[:, :5] == 0).all()


def test_an_unobserved_step_leaves_blank_columns() -> None:
    values, observed = np.full((1, 9), 0.4, np.float32), np.ones((1, 9), np.bool_)
    observed[0, 4] = False
    columns = draw(values, observed, Style())[0].any(axis=0).nonzero()[0]
    left, right = positions(9, Style())[[3, 5]] / 16
    gaps = np.flatnonzero(np.diff(columns) > 1)
    assert len(gaps) == 1
    assert columns[gaps[0]] <= left + 1.5
    assert columns[gaps[0] + 1] >= right - 2.5


@settings(deadline=None, max_examples=40)
@given(batches(most_steps=20, most_series=1))
def test_ink_lies_only_where_the_observed_steps_are(batch: Series) -> None:
    values, observed = batch
    ink = draw(values, observed, Style())[0]
    x = positions(values.shape[1], Style()) / 16
    seen = observed[0]
    allowed = np.zeros(224, np.bool_)
    centres = np.arange(224) + 0.5
    for t in seen.nonzero()[0]:
        allowed |= np.abs(centres - x[t]) < 2.5
        if t + 1 < len(x) and seen[t + 1]:
            allowed |= (centres >= x[t]) & (centres <= x[t + 1])
    assert not ink[:, ~allowed].any()
    assert ink.any() == seen.any()
    assert not seen.any() or ink.max() > 200


@pytest.mark.parametrize("step", [0, 3, 8])
@pytest.mark.parametrize("renderer", ["numba", "agg"])
def test_an_isolated_observation_is_a_filled_dot(step: int, renderer: str) -> None:
    observed = np.arange(9)[None] == step
    style = Style(dot_diameter=8, renderer=renderer)  # type: ignore[arg-type]
    ink = draw(np.full((1, 9), 0.5, np.float32), observed, style)[0]
    centre = positions(9, style)[step] // 16
    assert abs(ink.sum() / 255 - np.pi * 4**2) < 1
    assert (ink[110:114, centre - 2 : centre + 2] == 255).all()
    rows, columns = ink.nonzero()
    assert np.hypot(rows + 0.5 - 112, columns + 0.5 - positions(9, style)[step] / 16).max() < 4.75


def test_nothing_observed_is_an_empty_sheet() -> None:
    for renderer in ("numba", "agg"):
        ink = draw(np.full((2, 7), np.nan, np.float32), np.zeros((2, 7), np.bool_), Style(renderer=renderer))  # type: ignore[arg-type]
        assert ink.shape == (2, 224, 224)
        assert not ink.any()


def test_no_stroke_is_cut_at_the_frame() -> None:
    values, observed = many_series(40, 12)
    style = Style(size=96, line_width=6, dot_diameter=7, margin=3.5)
    roomy = Style(size=106, line_width=6, dot_diameter=7, margin=8.5)
    wide = draw_vertices(np.where(observed, vertices(values, observed, style) + 80, UNOBSERVED).astype(np.int16), roomy)
    np.testing.assert_array_equal(wide[:, 5:101, 5:101], draw(values, observed, style))
    assert wide.sum() == wide[:, 5:101, 5:101].sum()


def test_a_given_buffer_is_filled_whatever_it_held() -> None:
    prepared = vertices(*many_series(5), SMALL)
    for style in (SMALL, Style(size=64, renderer="agg")):
        buffer = np.full((5, 64, 64), 77, np.uint8)
        assert draw_vertices(prepared, style, buffer) is buffer
        np.testing.assert_array_equal(buffer, draw_vertices(prepared, style))


@pytest.mark.parametrize("steps", [1, 897, 3457])
def test_one_step_and_very_many_steps_are_drawn(steps: int) -> None:
    values = np.linspace(0, 1, steps, dtype=np.float32)[None]
    assert draw(values, np.ones_like(values, np.bool_), Style()).max() == 255


def test_no_series_give_no_pictures() -> None:
    assert draw(np.zeros((0, 5), np.float32), np.zeros((0, 5), np.bool_), Style()).shape == (0, 224, 224)


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("y_range", ["fixed", "window"])
def test_an_observed_value_that_is_not_finite_is_refused_with_its_place(value: float, y_range: str) -> None:
    values, observed = many_series(4, 10)
    values[2, 6], observed[2, 6] = value, True
    with pytest.raises(InputError, match=r"Series 2 is .* at step 6"):
        vertices(values, observed, Style(y_range=y_range))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("renderer", "cairo"), ("y_range", "auto"), ("size", 15), ("size", 1025), ("size", 32.5), ("line_width", 0),
        ("line_width", float("nan")), ("line_width", float("inf")), ("line_width", 8.5), ("dot_diameter", -1),
        ("dot_diameter", 9), ("margin", 1.5), ("margin", 112), ("margin", float("nan")),
    ],
)  # fmt: skip
def test_a_style_outside_its_limits_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InputError, match=r"style\.(margin is 4\.0|" + field + ")"):
        Style(**{field: value})  # type: ignore[arg-type]


def test_more_steps_than_grid_columns_are_refused() -> None:
    with pytest.raises(InputError, match="3458 steps"):
        positions(3458, Style())
    with pytest.raises(InputError, match="0 steps"):
        draw(np.zeros((3, 0), np.float32), np.zeros((3, 0), np.bool_), Style())


def test_vertices_of_another_style_are_refused() -> None:
    prepared = vertices(*many_series(3), Style())
    with pytest.raises(ValueError, match="another style"):
        draw_vertices(prepared, SMALL)


def test_a_buffer_or_mask_of_the_wrong_kind_is_refused() -> None:
    values, observed = many_series(3, 5)
    with pytest.raises(ValueError, match="mask bool"):
        vertices(values, observed.astype(np.uint8), SMALL)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="C order"):
        draw_vertices(vertices(values, observed, SMALL), SMALL, np.zeros((3, 64, 64), np.float32))  # type: ignore[arg-type]


# --- style and colour -------------------------------------------------------------------------------------------


def test_every_field_of_a_style_changes_its_digest() -> None:
    others = [
        Style(renderer="agg"), Style(y_range="window"), Style(size=225), Style(line_width=2.5),
        Style(dot_diameter=4.5), Style(margin=5),
    ]  # fmt: skip
    assert len(others) == len(dataclasses.fields(Style))
    assert len({style.digest for style in (Style(), *others)}) == len(others) + 1


def test_equal_styles_have_equal_digests_however_they_are_written() -> None:
    assert Style(line_width=2, margin=4).digest == Style().digest
    assert Style(size=np.int64(224)).digest == Style().digest  # type: ignore[arg-type]
    assert re.fullmatch("[0-9a-f]{32}", Style().digest)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 255), st.tuples(*[st.integers(0, 255)] * 3))
def test_colourise_blends_on_white_and_rounds_to_nearest(ink: int, colour: tuple[int, int, int]) -> None:
    picture = colourise(np.full((1, 2, 2), ink, np.uint8), np.array([colour], np.uint8))
    exact = 255 - ink * (255 - np.array(colour)) / 255
    assert np.abs(picture[0, 0, 0] - exact).max() <= 0.5
    assert ink != 0 or (picture == 255).all()
    assert ink != 255 or picture[0, 1, 1].tolist() == list(colour)


def test_the_palette_is_dark_enough_on_white_and_its_colours_lie_apart() -> None:
    linear = np.where(PALETTE <= 10, PALETTE / 255 / 12.92, ((PALETTE / 255 + 0.055) / 1.055) ** 2.4)
    contrast = 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)  # WCAG 2 contrast ratio
    assert contrast.min() >= 3
    apart = np.linalg.norm(PALETTE[:, None].astype(float) - PALETTE[None], axis=2)
    assert apart[np.triu_indices(len(PALETTE), 1)].min() >= 60
    assert len(PALETTE) >= 10


# --- the compiled code ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_a_writable_cache_folder_the_renderer_warns_and_still_loads(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    for name in ("__init__.py", "errors.py", "render.py", "style.py"):
        shutil.copy(ROOT / "pipeline" / name, tmp_path / "pipeline" / name)
    (tmp_path / "pipeline" / "__pycache__").write_text("a file where the folder should be")
    environment = {**os.environ, "HOME": os.devnull, "XDG_CACHE_HOME": os.devnull, "NUMBA_OPT": "0"}  # quick
    environment.pop("NUMBA_CACHE_DIR", None)
    program = (
        "import numpy as np; import pipeline.render as render\n"
        "ones = np.ones((1, 3), np.float32); print(render.draw(ones, ones > 0, render.Style()).max())"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "255", run.stderr
    assert "NUMBA_CACHE_DIR" in run.stderr
