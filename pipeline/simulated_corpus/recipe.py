"""The recipe of the corpus: which tables it has, and how each is drawn. Equal recipes give equal corpora."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.simulated_corpus.processes import PROCESSES
from pipeline.simulated_corpus.sensor import observe
from pipeline.style import Style
from pipeline.table import SeasonTable, Variate
from pipeline.windows import Framing

VERSION = 2  # raise it whenever the numbers of a corpus can change
LATENT = 3  # courses that the variates of a sample share
LEAST_OWN = 0.03  # share of a course's variance that differs between the samples of a table
SHORTEST, LONGEST = 6, 52  # steps of a window that stage 1 reads
STEP_DAYS = (5.0, 7.0, 8.0, 10.0, 14.0, 16.0, 30.0)
UNITS = ((0.0, 1.0), (-0.2, 1.0), (-0.5, 0.5), (0.0, 0.6), (0.0, 12.0), (-10.0, 40.0), (0.0, 200.0))


@dataclass(frozen=True)
class Recipe:
    """The size and seed of a corpus."""

    tables: int = 192
    """Number of tables; each has a season length, cut, framing and y-range of its own."""
    samples: int = 64
    """Samples per table."""
    variates: int = 7
    """Variates per sample."""
    seed: int = 0
    """Seed of everything that is drawn."""

    def __post_init__(self) -> None:
        for name in ("tables", "samples", "variates"):
            if getattr(self, name) < 1:
                raise InputError(f"the corpus needs at least 1 of {name}; got {getattr(self, name)}.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"the seed of the corpus is {self.seed}; it must be from 0 to 2^63 - 1.")

    @property
    def digest(self) -> str:
        """32 hex digits of xxh3-128 over the recipe and its version."""
        return xxhash.xxh3_128_hexdigest(json.dumps({**asdict(self), "version": VERSION}, sort_keys=True).encode())


@dataclass(frozen=True, eq=False)
class CorpusTable:
    """One table of the corpus, with what a real table does not know.

    table    season table without yields (NaN)
    framing  the windows that its pictures show
    style    how its pictures are drawn: one table in six shows only shapes (`y_range` window)
    process  name of the latent process
    noise    [N,V] standard deviation of the noise that was added, in the variate's unit
    clean    [N,V,T] the series without noise and gaps, in the variate's unit
    """

    table: SeasonTable
    framing: Framing
    style: Style
    process: str
    noise: NDArray[np.float64]
    clean: NDArray[np.float64]


def simulate_corpus(recipe: Recipe) -> Iterator[CorpusTable]:
    """The tables of the corpus, in order. A table depends on the seed and its number alone, not on their number."""
    return (simulate_table(recipe, number) for number in range(recipe.tables))


def simulate_table(recipe: Recipe, number: int) -> CorpusTable:
    """Table `number` of the corpus."""
    rng = np.random.default_rng([VERSION, recipe.seed, number])
    framing: Framing = "season" if number % 4 == 3 else "halves"
    style = Style(y_range="window" if number % 6 == 5 else "fixed")
    steps, cut = _lengths(rng, framing)
    process = str(rng.choice(list(PROCESSES), p=[0.3, 0.4, 0.15, 0.15]))
    courses = PROCESSES[process](rng, recipe.samples + 1, LATENT, steps)
    observed = observe(rng, around_climatology(rng, courses[1:], courses[0]), recipe.variates)
    units = [UNITS[at] for at in rng.integers(0, len(UNITS), recipe.variates)]
    low = np.array([unit[0] for unit in units])[:, None]
    span = np.array([unit[1] - unit[0] for unit in units])[:, None]
    values = (low + span * observed.values).astype(np.float32)
    name = f"simulated-{recipe.seed}-{number}"
    table = SeasonTable(
        name=name,
        values=values,
        observed=~np.isnan(values),
        target=np.full(recipe.samples, np.nan),
        sample_id=np.array([f"{name}-{row}" for row in range(recipe.samples)]),
        place=np.array([f"place-{row}" for row in range(recipe.samples)]),
        year=np.full(recipe.samples, 2000),
        variates=tuple(Variate(f"v{v}", "1", *unit) for v, unit in enumerate(units)),
        step_days=float(rng.choice(STEP_DAYS)),
        cut=cut,
    )
    return CorpusTable(table, framing, style, process, span[:, 0] * observed.noise, low + span * observed.clean)


def around_climatology(
    rng: np.random.Generator, courses: NDArray[np.float64], climatology: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the samples of a table common courses, as the climate and the crop calendar of a region do.

    courses [N,L,T] and climatology [L,T] are draws of one process. In a third of the tables the courses stay as they
    are. Otherwise the samples' own part of the variance is between `LEAST_OWN` and 1, on a log scale. Returns [N,L,T].
    """
    if rng.random() < 1 / 3:
        return courses
    own = np.exp(rng.uniform(np.log(LEAST_OWN), 0, len(climatology)))[:, None]
    mixed: NDArray[np.float64] = np.sqrt(1 - own) * climatology + np.sqrt(own) * courses
    return mixed


def _lengths(rng: np.random.Generator, framing: Framing) -> tuple[int, int]:
    """Steps of the season and the cut. Short windows are as frequent as long ones; half of the cuts are the middle."""
    window = round(float(np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST)))))
    if framing == "season":
        steps = max(2 * SHORTEST, window)
        return steps, int(rng.integers(SHORTEST, steps - 1, endpoint=True))
    if rng.random() < 0.5:
        return 2 * window, window
    return window + int(rng.integers(1, LONGEST, endpoint=True)), window
