"""The recipe of the pretraining corpus: its properties for any size and seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.simulated_corpus.processes import PROCESSES, composed_kernel
from pipeline.simulated_corpus.recipe import (
    LEAST_OWN,
    LONGEST,
    SHORTEST,
    Recipe,
    around_climatology,
    simulate_corpus,
    simulate_table,
)
from pipeline.simulated_corpus.sensor import EDGE, observe

seeds = st.integers(0, 2**40)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, number=st.integers(0, 500), samples=st.integers(1, 12), variates=st.integers(1, 9))
def test_a_table_is_valid_for_any_seed_and_size(seed, number, samples, variates):
    made = simulate_table(Recipe(tables=1, samples=samples, variates=variates, seed=seed), number)
    table = made.table
    assert table.values.shape[:2] == (samples, variates) == made.noise.shape
    assert made.clean.shape == table.values.shape
    assert np.isfinite(made.clean).all()
    assert (made.noise >= 0).all()
    assert np.isnan(table.target).all()
    assert SHORTEST <= table.cut < table.steps
    window = table.cut if made.framing == "halves" else table.steps
    assert window <= LONGEST
    assert table.steps - table.cut <= LONGEST
    span = np.array([v.high - v.low for v in table.variates])[:, None]
    low = np.array([v.low for v in table.variates])[:, None]
    unit = ((table.values - low) / span)[table.observed]
    assert unit.min() >= -EDGE - 1e-5
    assert unit.max() <= 1 + EDGE + 1e-5


@settings(max_examples=15, deadline=None)
@given(seed=seeds, number=st.integers(0, 30))
def test_a_table_depends_on_seed_and_number_alone(seed, number):
    alone = simulate_table(Recipe(tables=1, samples=5, seed=seed), number)
    among = simulate_table(Recipe(tables=99, samples=5, seed=seed), number)
    other = simulate_table(Recipe(tables=1, samples=5, seed=seed + 1), number)
    assert alone.table.values.tobytes() == among.table.values.tobytes()
    assert (alone.table.steps, alone.table.cut, alone.framing) == (among.table.steps, among.table.cut, among.framing)
    assert alone.table.values.tobytes() != other.table.values.tobytes()


@settings(max_examples=25, deadline=None)
@given(seed=seeds, steps=st.integers(2, 104))
def test_a_composed_kernel_is_a_covariance_with_mean_variance_one(seed, steps):
    covariance = composed_kernel(np.random.default_rng(seed), steps)
    assert covariance == pytest.approx(covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > -1e-8 * steps
    assert np.trace(covariance) == pytest.approx(steps)


@pytest.mark.parametrize("process", PROCESSES)
@settings(max_examples=15, deadline=None)
@given(seed=seeds, samples=st.integers(1, 10), steps=st.integers(7, 104))
def test_every_process_gives_finite_courses_of_the_asked_shape(process, seed, samples, steps):
    courses = PROCESSES[process](np.random.default_rng(seed), samples, 3, steps)
    assert courses.shape == (samples, 3, steps)
    assert np.isfinite(courses).all()


@pytest.mark.parametrize("seed", range(8))
def test_noise_has_the_spread_that_is_reported(seed):
    rng = np.random.default_rng(seed)
    made = observe(rng, PROCESSES["seasons"](rng, 60, 3, 40), 7)
    away = np.minimum(made.clean, 1 - made.clean) / made.noise[:, :, None]  # the edge of the y-range cuts the noise
    inside = (away > 4) & ~np.isnan(made.values)
    scaled = ((made.values - made.clean) / made.noise[:, :, None])[inside]
    assert len(scaled) > 3000
    assert scaled.std() == pytest.approx(1, abs=0.05)
    assert scaled.mean() == pytest.approx(0, abs=0.05)


def test_variates_move_together_and_windows_and_gaps_are_of_many_kinds():
    corpus = list(simulate_corpus(Recipe(tables=60, samples=16, seed=3)))
    together = []
    for one in corpus:
        series = one.clean - one.clean.mean(-1, keepdims=True)
        first = series[:, 0].ravel()
        together.append(max(abs(np.corrcoef(first, series[:, v].ravel())[0, 1]) for v in range(1, 7)))
    assert np.median(together) > 0.5  # independent series of this length have about 0.1
    windows = [one.table.cut for one in corpus]
    assert min(windows) <= 8
    assert max(windows) >= 40
    shares = [one.table.observed.mean() for one in corpus]
    assert sum(share == 1 for share in shares) > 10
    assert min(shares) < 0.75
    assert {one.framing for one in corpus} == {"halves", "season"}
    assert {one.style.y_range for one in corpus} == {"fixed", "window"}
    assert {one.process for one in corpus} == set(PROCESSES)
    relative = [np.median(one.noise / one.clean.std((0, 2))) for one in corpus]
    assert min(relative) < 0.05 < 0.3 < max(relative)


def test_samples_of_a_table_share_their_course_in_every_degree():
    corpus = simulate_corpus(Recipe(tables=60, samples=16, seed=3))
    shared = [one.clean.mean(0).var(-1).max() / one.clean.var((0, 2)).max() for one in corpus]
    assert min(shared) < 0.1  # samples that have nothing in common
    assert max(shared) > 0.85  # seasons of one climate, as monthly temperatures are
    assert 0.1 < np.median(shared) < 0.6


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_own_and_common_parts_of_the_courses_sum_to_one(seed):
    rng = np.random.default_rng(seed)
    courses, climatology = rng.standard_normal((20, 3, 30)), rng.standard_normal((3, 30))
    mixed = around_climatology(rng, courses, climatology)
    own = ((mixed - mixed.mean(0)).var((0, 2)) / (courses - courses.mean(0)).var((0, 2)))[:, None]
    assert (own >= LEAST_OWN - 1e-9).all()
    assert (own <= 1 + 1e-9).all()
    common = np.sqrt(np.maximum(1 - own, 0)) * climatology
    assert mixed.mean(0) == pytest.approx(common + np.sqrt(own) * courses.mean(0), abs=1e-6)


def test_digest_names_the_recipe():
    digests = {Recipe(tables=t, seed=s).digest for t in (1, 2) for s in (0, 1)}
    assert len(digests) == 4
    assert Recipe().digest == Recipe().digest


@pytest.mark.parametrize(("changed", "said"), [({"tables": 0}, "tables"), ({"samples": -1}, "samples"),
                                               ({"seed": -1}, "seed")])  # fmt: skip
def test_sizes_and_seeds_that_cannot_be_are_refused(changed, said):
    with pytest.raises(InputError, match=said):
        Recipe(**changed)
