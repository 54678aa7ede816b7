"""Draw every series of a season table once, embed every picture once, and store both in the cache.

    python render_cache.py --workers 16                          the bundled demo data
    python render_cache.py --data my_card.toml --workers 8       your own, described by a dataset card
    python render_cache.py --data "exports/*.csv" --dry-run      print the plan and write data.html
    python render_cache.py --encoder none                        pictures only
    python render_cache.py --split leave-year-out                with the y-ranges of every fold of that split

Stop it whenever you like and run it again. Committed pictures and embeddings are never computed twice.
"""

from __future__ import annotations

import pipeline.loading  # isort: skip  # noqa: F401  # first, for Ctrl-C while the others load

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import tyro

from cache.catalog import Entry, entries
from cache.estimate import estimate
from cache.fill import EmbeddingWork, Encode, Filled, ImageWork
from cache.run_log import Run, known_costs, processor
from cache.spec import Spec, embedding_spec
from cache.storage import CacheError, open_storage, refuse_unless_cache
from cache.workers import MOST_RETRIES, Backend, Pool, leave
from model.encoders import EncoderError, EncoderSpec, EngineName, choose, encode, load, resolve
from pipeline.augmentation import view_tables
from pipeline.errors import InputError
from pipeline.flags import SeasonFlags, ViewFlags, without_the_end
from pipeline.parser import parse_flags
from pipeline.plural import plural
from pipeline.program import run_program
from pipeline.series import SeriesBlock, fold_ranges, fold_variants, outside
from pipeline.sources import read
from pipeline.sources.geometry import known_shapes
from pipeline.splits import Fold, make_folds, resolve_split
from pipeline.style import Style
from pipeline.table import SeasonTable
from pipeline.windows import Framing
from report.atomic_write import write_whole
from report.progress import say, stage_progress

PREVIEW, DATA_PAGE = "preview.png", "data.html"
MOST_OUTSIDE = 0.02  # share of a variate's values that may lie outside its y-range before a warning is printed


@dataclass(frozen=True)
class ExperimentalFlags(ViewFlags):
    """Not shown to improve forecasts (docs/training.md)."""


@dataclass(frozen=True)
class Arguments:
    """Draw and embed the series of a season table into the image cache."""

    input: tyro.conf.OmitArgPrefixes[SeasonFlags] = field(default_factory=SeasonFlags)
    encoder: str = "auto"
    """auto, none (draw only), efficientnet-lite0, open_clip:ARCH/TAG-or-path, transformers:ID-or-folder, timm:NAME,
    tuned:RUN (a tower that `train.py --finetune-vision` tuned)."""
    engine: EngineName = "auto"
    """The inference engine. auto takes torch on a GPU, and on a CPU OpenVINO, or torch if OpenVINO is not installed."""
    workers: int = 2
    """Number of drawing processes, at most one per slab. Fewer than about 16,000 pictures are drawn without any."""
    backend: Backend = "loky"
    """Where the work runs: in processes on this machine (loky), or on the workers of a running Dask or Ray cluster,
    which draw and embed."""
    scheduler: str | None = None
    """Address of the Dask scheduler (tcp://host:8786) or of the Ray head. Its processes need a copy of this folder."""
    seed: int = 0
    """Seed of the place and random splits."""
    framing: Framing = "halves"
    """What the two pictures of a series show. halves: each half of the season in its own frame. season: the whole
    season in both frames, once up to the cut and once complete."""
    dry_run: bool = False
    """Print the plan, write data.html (contents of the table, with charts) into this folder, and do nothing else."""
    preview: bool = False
    """First draw the plots of three samples beside their numbers into preview.png. It works with --dry-run."""
    style: Style = field(default_factory=Style)
    experimental: tyro.conf.OmitArgPrefixes[ExperimentalFlags] = field(default_factory=ExperimentalFlags)


FIRST_FLAGS = ("data", "cache", "encoder", "split", "folds", "steps", "workers", "dry-run", "preview")  # in --help


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (something failed), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM)."""
    return run_program(
        "render_cache.py",
        lambda: render(parse_flags(Arguments, arguments, __doc__, "render_cache.py", short=FIRST_FLAGS)),
        refused=(EncoderError,),
        failed=(CacheError,),
        after_failure="Committed work is safe; run the same command again to continue.",
        after_stop="Committed work is safe; run the same command again to continue.",
    )


def render(args: Arguments) -> int:
    """Run the whole program: read, key, plan, draw, embed, record. Returns the exit code."""
    refuse_wrong_flags(args)
    pool = Pool(args.workers, args.backend, args.scheduler)
    local = "://" not in args.input.cache
    cache = os.path.abspath(args.input.cache) if pool.elsewhere and local else args.input.cache
    seconds: dict[str, float] = {}
    with clock(seconds, "read"):
        table = read(args.input.data, year=args.input.year, memory_gb=args.input.memory_gb)
    split, why = resolve_split(args.input.split, table, seed=args.seed)
    describe(table, why)
    describe_positions(args.input)
    steps, said = without_the_end(args.input.steps, table.steps)
    if said:
        say(said)
    args = replace(args, input=replace(args.input, steps=steps))
    encoder = wanted_encoder(args.encoder, pool)
    with clock(seconds, "key"):
        folds = make_folds(
            table.year,
            table.place,
            table.sample_id,
            split=split,
            seed=args.seed,
            assigned=table.assigned,
            chosen=args.input.folds,
            group=table.group,
        )
        variants = to_draw(args, table, folds)
        blocks = [block for _, variant in variants for block in variant]
        spec = embedding_spec(args.style, encoder.to_dict()) if encoder else None
        images, vectors = plans(cache, args.style, spec, blocks)
    describe_plan(images, vectors)
    describe_outside(table, blocks, args.style)
    if args.preview:
        from cache.contact_sheet import preview

        write_whole(Path(PREVIEW), preview(table, fold_ranges(table, folds[0]), args.style, 3, args.framing).save)
        say(f"{PREVIEW}: the plots of three samples, beside their numbers")
    engine, by = args.engine, f"{processor()}, {plural(args.workers, 'worker')}"
    if vectors and len(vectors.plan.missing) and not pool.elsewhere:
        engine, _, why = choose(args.engine, len(vectors.plan.missing), encoder)
        say(f"engine: {why}")
        by += f", {why.partition(';')[0]}"
    embed = partial(encode, encoder, engine=engine) if encoder else None
    if not pool.elsewhere and (len(images.plan.missing) or (vectors and len(vectors.plan.missing))):
        known = known_costs(open_storage(cache), spec.id if spec else "", by)
        say(f"estimate: {estimate(images, vectors, embed, args.workers, known)}")
    if args.dry_run:
        show_data(args, table)
        return 0

    pool.refuse_unless_ready()
    namespaces = images.store.spec.id, vectors.store.spec.id if vectors else ""
    wanted = [Entry.of(owner, variant, *namespaces) for owner, variant in variants]
    before = claim_or_tell(cache, wanted, len(images.plan.missing) + (len(vectors.plan.missing) if vectors else 0))
    if before is None:
        return 0
    images, vectors = plans(cache, args.style, spec, blocks)  # again: gc may have deleted pictures before the claim
    drawn, embedded = fill(pool, images, vectors, embed, partial(load, encoder, engine) if encoder else None)
    return record(cache, wanted, before, seconds=seconds, drawn=drawn, embedded=embedded, by=by)


def describe(table: SeasonTable, why: str) -> None:
    """Print what was read: the table in one line, then how it was read and its findings."""
    say(f"{table.describe()}{why and f' {why}.'}")
    for line in (*table.notes, *([table.describe_findings()] if table.findings else [])):
        say(line)


def describe_positions(flags: SeasonFlags) -> None:
    """Print why the positions that the card names cannot be read, if so."""
    _, unreadable = known_shapes(flags.data, flags.memory_gb)
    if unreadable:
        say(f"warning: Maps and forecasts of unseen places will not use positions: {unreadable}")


def wanted_encoder(name: str, pool: Pool) -> EncoderSpec | None:
    """The encoder that --encoder names, or None. Workers on other machines find its weights by an absolute path."""
    if name == "none":
        return None
    encoder = resolve(name)
    say(f"encoder: {encoder.reason}")
    if pool.elsewhere and encoder.location:
        return replace(encoder, location=os.path.abspath(encoder.location))
    return encoder


def describe_plan(images: ImageWork, vectors: EmbeddingWork | None) -> None:
    """Print how much is missing."""
    drawn, embedded = images.plan, vectors and vectors.plan
    say(
        f"plan: {drawn.wanted:,} series, {plural(drawn.distinct, 'distinct image')}, {len(drawn.missing):,} to draw "
        f"in {plural(drawn.slabs, 'slab')}"
        + (f", {len(embedded.missing):,} to embed in {plural(embedded.slabs, 'slab')}" if embedded else "")
    )


def describe_outside(table: SeasonTable, blocks: Sequence[SeriesBlock], style: Style) -> None:
    """Print the variates of which many values lie outside the y-range of the plots."""
    for name, share in outside(table, blocks).items():
        if share > MOST_OUTSIDE and style.y_range == "fixed":
            say(f"{name}: {share:.1%} of its values lie outside its y-range and are drawn on the edge of the plot")


def fill(
    pool: Pool,
    images: ImageWork,
    vectors: EmbeddingWork | None,
    embed: Encode | None,
    load: Callable[[], object] | None,
) -> tuple[Filled, Filled | None]:
    """Draw what is missing, then embed it. The encoder is loaded by `load` while pictures are drawn here."""
    embeds_here = load is not None and vectors and len(vectors.plan.missing) and not pool.elsewhere
    beside = loading(load) if load is not None and embeds_here else nullcontext()
    with beside, stage_progress("draw", len(images.plan.missing)) as advance:
        drawn = images.run(pool, advance)
    if vectors is None or embed is None or drawn.given_up:
        return drawn, None
    with stage_progress("embed", len(vectors.plan.missing)) as advance:
        return drawn, vectors.run(pool, embed, advance)


def show_data(args: Arguments, table: SeasonTable) -> None:
    """Write data.html. If it cannot be written, print why and carry on, as the plan has been printed already."""
    from report.data.page import write_data_page
    from report.data.summary import summarise

    summary = summarise(
        table, args.input.data, args.input.split, seed=args.seed, style=args.style, framing=args.framing
    )
    try:
        write_data_page(summary, Path(DATA_PAGE))
    except OSError as error:
        print(f"{DATA_PAGE} could not be written: {error}.", file=sys.stderr)
    else:
        say(f"{DATA_PAGE}: the contents of the table, its oddities, and the line of the card that settles each")


@contextmanager
def loading(load: Callable[[], object]) -> Iterator[None]:
    """Load the encoder in a thread while the block runs. Waits for it at the end and raises any error of loading."""
    with ThreadPoolExecutor(1) as thread:
        loaded = thread.submit(load)
        yield
        loaded.result()


def to_draw(
    args: Arguments, table: SeasonTable, folds: Sequence[Fold]
) -> list[tuple[SeasonTable, tuple[SeriesBlock, ...]]]:
    """Every variant of every season, with the table under which the catalog records it.

    The order is: views, seasons up to a step, whole seasons. Whole seasons come last because `show` takes the newest
    entry.
    """
    seasons = [(table, view) for view in view_tables(table, args.experimental.to_views())]
    seasons += [(early, early) for early in map(table.as_of, args.input.steps)] + [(table, table)]
    return [
        (owner, variant)
        for owner, one in seasons
        for variant in fold_variants(table, folds, args.style, one, args.framing)
    ]


def claim_or_tell(cache: str, wanted: Sequence[Entry], missing: int) -> Mapping[str, float] | None:
    """As `claim`. Returns None, with a printed note, if nothing is missing and the cache is read-only."""
    try:
        return claim(cache, wanted, {})
    except FileNotFoundError:
        raise  # gc --min-age 0 deleted the claim while it was written, so nothing would protect these pictures
    except OSError as error:
        if missing:
            raise
        print(f"everything is in the cache; this run is not recorded, because the cache is read-only ({error})")
        return None


def refuse_wrong_flags(args: Arguments) -> None:
    """Raises InputError if a flag is invalid."""
    if args.workers < 1:
        raise InputError(f"--workers is {args.workers}; at least 1 is needed.")
    if args.scheduler and args.backend not in ("dask", "ray"):
        raise InputError(f"--scheduler {args.scheduler} is for --backend dask or ray; this run uses {args.backend}.")
    if not 0 <= args.seed < 2**63:
        raise InputError(f"--seed is {args.seed}; it must be from 0 to 2^63 - 1.")
    refuse_unless_cache(args.input.cache)


def record(
    cache: str,
    wanted: Sequence[Entry],
    before: Mapping[str, float],
    *,
    seconds: dict[str, float],
    drawn: Filled,
    embedded: Filled | None,
    by: str,
) -> int:
    """Record and print what was done. Returns the exit code.

    before: seconds that earlier runs spent; by: processor and engine of this run.
    """
    stages = {"draw": drawn} | ({"embed": embedded} if embedded else {})
    seconds |= {name: stage.seconds for name, stage in stages.items()}
    claim(cache, wanted, {name: before.get(name, 0.0) + spent for name, spent in seconds.items()})
    given_up = [line for stage in stages.values() for line in stage.given_up]
    Run.of(stages, given_up, wanted[0].embeddings, by).save(open_storage(cache))
    say(summary(drawn, embedded, seconds))
    for line in given_up:
        print(f"given up after {MOST_RETRIES} retries: {line}", file=sys.stderr)
    return 1 if given_up else 0


def plans(
    cache: str, style: Style, spec: Spec | None, blocks: Sequence[SeriesBlock]
) -> tuple[ImageWork, EmbeddingWork | None]:
    """The pictures that are missing now and, if `spec` is given, the missing embeddings."""
    images = ImageWork.of(cache, style, blocks)
    return images, EmbeddingWork.of(cache, style, spec, blocks) if spec else None


def claim(cache: str, wanted: Sequence[Entry], seconds: Mapping[str, float]) -> dict[str, float]:
    """Record which pictures this data needs. Called before the work, so that gc spares them, and again after it.

    Returns the seconds that earlier runs spent on drawing and embedding for the same pictures and encoder.
    """
    known = {(entry.file, entry.embeddings): entry.seconds for entry in entries(cache)}
    before: Counter[str] = Counter()
    for entry in wanted:
        earlier = known.get((entry.file, entry.embeddings), {})
        replace(entry, seconds=dict(seconds or earlier)).save(cache)
        before.update({name: earlier.get(name, 0.0) for name in ("draw", "embed")})
    return {name: spent / len(wanted) for name, spent in before.items()}


def summary(drawn: Filled, embedded: Filled | None, seconds: dict[str, float]) -> str:
    """The last line of output: how much was done and reused, and how fast."""
    parts = [
        f"{drawn.wanted:,} series, {plural(drawn.distinct, 'distinct image')}, {drawn.written:,} drawn, "
        f"{drawn.reused:,} reused"
    ]
    if embedded:
        parts.append(f"{embedded.written:,} embedded, {embedded.reused:,} reused")
    took = drawn.seconds + (embedded.seconds if embedded else 0.0)
    parts.append(f"{(drawn.bytes + (embedded.bytes if embedded else 0)) / 1e6:.1f} MB written")
    rates = [f"read {seconds['read']:.1f} s", f"key {seconds['key']:.1f} s ({drawn.wanted / seconds['key']:.0f}/s)"]
    for name, stage in (("draw", drawn), ("embed", embedded)):
        if stage and stage.written:
            rates.append(f"{name} {stage.seconds:.1f} s ({stage.written / stage.seconds:.0f}/s)")
    return f"done in {took:.0f} s: " + "; ".join(parts) + "; " + ", ".join(rates)


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall time of the block to `seconds[name]`."""
    started = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started


if __name__ == "__main__":
    leave(main())
