"""Draw every series of a season table once, embed every picture once, and keep both.

    python render_cache.py --workers 16                          the bundled demo data
    python render_cache.py --data my_card.toml --workers 8       your own, described by a dataset card
    python render_cache.py --data "exports/*.csv" --dry-run      what would be done
    python render_cache.py --encoder none                        pictures only
    python render_cache.py --split leave-year-out                y-ranges of every fold of that split

Stop it whenever you like and run it again: what is committed is never drawn or embedded twice.
"""

from __future__ import annotations

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

from cache.catalog import Entry, entries
from cache.estimate import estimate
from cache.fill import EmbeddingWork, Filled, ImageWork
from cache.run_log import Run, known_costs, processor
from cache.spec import Spec, embedding_spec
from cache.storage import CacheError, open_storage, refuse_unless_cache
from cache.workers import MOST_RETRIES, Backend, Pool, leave
from model.encoders import EncoderError, EngineName, choose, encode, load, resolve
from pipeline.augmentation import Views, view_tables
from pipeline.errors import InputError
from pipeline.program import run_program
from pipeline.render import Style
from pipeline.series import SeriesBlock, fold_ranges, fold_variants, outside
from pipeline.sources import read
from pipeline.splits import Fold, SplitChoice, make_folds, resolve_split
from pipeline.table import SeasonTable
from pipeline.version import parse_flags
from pipeline.windows import Framing, steps_named
from report.atomic_write import write_whole
from report.progress import stage_progress

PREVIEW, DATA_PAGE = "preview.png", "data.html"
MOST_OUTSIDE = 0.02  # of a variate's values may lie outside of its y-range before a line says so


@dataclass(frozen=True)
class Arguments:
    """Draw and embed the series of a season table into the image cache."""

    data: str = "demo/card.toml"
    """Dataset card, data file, folder or glob."""
    cache: str = "image_cache"
    """The cache: a folder, or an address such as s3://bucket/prefix."""
    encoder: str = "auto"
    """auto, none (draw only), efficientnet-lite0, open_clip:ARCH/TAG-or-path, transformers:ID-or-folder, timm:NAME,
    tuned:RUN (a tower that `train.py --finetune-vision` tuned)."""
    engine: EngineName = "auto"
    """What embeds: torch on a GPU; on a CPU OpenVINO, or torch where OpenVINO is not installed."""
    workers: int = 2
    """Drawing processes; never more than there are slabs to draw, and none for fewer than some 16,000 pictures."""
    backend: Backend = "loky"
    """Who works: processes here (loky), or the workers of a running Dask or Ray, which draw and embed."""
    scheduler: str | None = None
    """Address of the Dask scheduler (tcp://host:8786) or the Ray head; its processes run in a copy of this folder."""
    split: SplitChoice = "auto"
    """Whose training rows set the y-range of variates that have no physical range on the card. auto: by years where the
    table has three or more, else by places, else by rows."""
    folds: str | None = None
    """The folds that train.py will be given; `all` for every year of a forward split, not only the last three."""
    seed: int = 0
    """Seed of the place and random splits."""
    year: int | None = None
    """Label year, where a table without a card does not tell it."""
    memory_gb: float | None = None
    """Refuse a table that needs more memory than this; 60 % of what is free by default."""
    framing: Framing = "halves"
    """What a picture frames: each half of the season by itself, or the whole season, seen until the cut and whole."""
    steps: str | None = None
    """Also draw every season as it is known after so many steps, as in 6,9,12; the whole season is always drawn."""
    dry_run: bool = False
    """Print the plan, write data.html (what the table holds, with charts) into this folder, and touch nothing else."""
    preview: bool = False
    """First draw the plots of three samples beside their numbers into preview.png (try it with --dry-run)."""
    views: int = 0
    """Views of every sample for `train.py --views`: warped, noisy and masked seasons, drawn and embedded, too."""
    noise: float = Views.noise
    """Views: standard deviation of the noise, as a share of the spread of the series."""
    warp: float = Views.warp
    """Views: most that a season is faster or slower; 0.1 is 0.9 to 1.1 times its speed."""
    mask: float = Views.mask
    """Views: share of the observed steps that become unobserved."""
    style: Style = field(default_factory=Style)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (something failed), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM)."""
    return run_program(
        "render_cache.py",
        lambda: render(parse_flags(Arguments, arguments, __doc__)),
        refused=(EncoderError,),
        failed=(CacheError,),
        after_failure="Committed work is safe; run the same command again to continue.",
        after_stop="Committed work is safe; run the same command again to continue.",
    )


def render(args: Arguments) -> int:
    """Read, key, plan, draw, embed, record: the whole program."""
    refuse_wrong_flags(args)
    pool = Pool(args.workers, args.backend, args.scheduler)
    cache = os.path.abspath(args.cache) if pool.elsewhere and "://" not in args.cache else args.cache
    seconds: dict[str, float] = {}
    with clock(seconds, "read"):
        table = read(args.data, year=args.year, memory_gb=args.memory_gb)
    split, why = resolve_split(args.split, table, seed=args.seed)
    for note in table.notes:
        print(note)
    print(f"{table.name}: {len(table)} samples x {len(table.variates)} variates x {table.steps} steps. "
          f"{table.describe_yields()} {table.describe_counts()}{why and f' {why}.'}")  # fmt: skip
    if table.findings:
        print(table.describe_findings())
    encoder = None if args.encoder == "none" else resolve(args.encoder)
    if encoder:
        print(f"encoder {encoder.name}: {encoder.reason}")
        if pool.elsewhere and encoder.location:
            encoder = replace(encoder, location=os.path.abspath(encoder.location))

    with clock(seconds, "key"):
        folds = make_folds(
            table.year, table.place, table.sample_id, split, args.seed, table.assigned, args.folds, table.group
        )
        variants = to_draw(args, table, folds)
        blocks = [block for _, variant in variants for block in variant]
        spec = embedding_spec(args.style, encoder.to_dict()) if encoder else None
        images, vectors = plans(cache, args.style, spec, blocks)
    print(f"plan: {images.plan.wanted} series, {images.plan.distinct} distinct images, "
          f"{len(images.plan.missing)} to draw in {images.plan.slabs} slabs"
          + (f", {len(vectors.plan.missing)} to embed in {vectors.plan.slabs} slabs" if vectors else ""))  # fmt: skip
    for name, share in outside(table, blocks).items():
        if share > MOST_OUTSIDE and args.style.y_range == "fixed":
            print(f"{name}: {share:.1%} of its values lie outside of its y-range and are drawn on the edge of the plot")
    if args.preview:
        from cache.contact_sheet import preview

        write_whole(Path(PREVIEW), preview(table, fold_ranges(table, folds[0]), args.style, 3, args.framing).save)
        print(f"{PREVIEW}: what will be drawn, beside the numbers")
    engine, by = args.engine, f"{processor()}, {args.workers} workers"
    if vectors and len(vectors.plan.missing) and not pool.elsewhere:
        engine, _, why = choose(args.engine, len(vectors.plan.missing), encoder)
        print(f"engine: {why}")
        by += f", {why.partition(';')[0]}"
    look = partial(encode, encoder, engine=engine) if encoder else None
    if not pool.elsewhere and (len(images.plan.missing) or (vectors and len(vectors.plan.missing))):
        known = known_costs(open_storage(cache), spec.id if spec else "", by)
        print(f"estimate: {estimate(images, vectors, look, args.workers, known)}")
    if args.dry_run:
        show_data(args, table)
        return 0

    pool.refuse_unless_ready()
    namespaces = images.store.spec.id, vectors.store.spec.id if vectors else ""
    wanted = [Entry.of(owner, variant, *namespaces) for owner, variant in variants]
    before = claim_or_tell(cache, wanted, len(images.plan.missing) + (len(vectors.plan.missing) if vectors else 0))
    if before is None:
        return 0
    images, vectors = plans(cache, args.style, spec, blocks)  # again: gc may have taken what nobody had claimed
    embeds_here = encoder and vectors and len(vectors.plan.missing) and not pool.elsewhere
    beside = loading(partial(load, encoder, engine)) if embeds_here else nullcontext()  # while pictures are drawn
    with beside, stage_progress("draw", len(images.plan.missing)) as advance:
        drawn = images.run(pool, advance)
    embedded = None
    if vectors and look and not drawn.given_up:
        with stage_progress("embed", len(vectors.plan.missing)) as advance:
            embedded = vectors.run(pool, look, advance)
    return record(cache, wanted, before, seconds, drawn, embedded, by)


def show_data(args: Arguments, table: SeasonTable) -> None:
    """Write data.html, or say why it cannot be written: the plan has been printed, and the page is no part of it."""
    from report.data.page import write_data_page
    from report.data.summary import summarise

    summary = summarise(table, args.data, args.split, args.seed, args.style, args.framing)
    try:
        write_data_page(summary, Path(DATA_PAGE))
    except OSError as error:
        print(f"There is no page of the data: {error}.", file=sys.stderr)
    else:
        print(f"{DATA_PAGE}: what the table holds, what is odd about it, and the line of the card that settles it")


@contextmanager
def loading(load: Callable[[], object]) -> Iterator[None]:
    """Load the encoder in a thread beside the block, which ends when it is loaded or raises what loading raised."""
    with ThreadPoolExecutor(1) as thread:
        loaded = thread.submit(load)
        yield
        loaded.result()


def to_draw(
    args: Arguments, table: SeasonTable, folds: Sequence[Fold]
) -> list[tuple[SeasonTable, tuple[SeriesBlock, ...]]]:
    """Every variant of every season, with the table that it is written down under.

    Views, seasons so far, and the whole season last, as `show` takes the newest entry.
    """
    seasons = [(table, view) for view in view_tables(table, Views(args.views, args.noise, args.warp, args.mask))]
    seasons += [(early, early) for early in map(table.as_of, steps_named(args.steps))] + [(table, table)]
    return [
        (owner, variant)
        for owner, one in seasons
        for variant in fold_variants(table, folds, args.style, one, args.framing)
    ]


def claim_or_tell(cache: str, wanted: Sequence[Entry], missing: int) -> Mapping[str, float] | None:
    """As `claim`; None where nothing is missing in a cache that cannot be written to."""
    try:
        return claim(cache, wanted, {})
    except FileNotFoundError:
        raise  # gc --min-age 0 took the claim while it was written: nothing would spare these pictures
    except OSError as error:
        if missing:
            raise
        print(f"everything is in the cache; this run is not written down, as it cannot be written to ({error})")
        return None


def refuse_wrong_flags(args: Arguments) -> None:
    """Raises InputError where a number or address cannot be meant."""
    if args.workers < 1:
        raise InputError(f"--workers is {args.workers}; at least 1 is needed.")
    if args.scheduler and args.backend not in ("dask", "ray"):
        raise InputError(f"--scheduler {args.scheduler} is for --backend dask or ray; this run uses {args.backend}.")
    if not 0 <= args.seed < 2**63:
        raise InputError(f"--seed is {args.seed}; it must be from 0 to 2^63 - 1.")
    refuse_unless_cache(args.cache)


def record(
    cache: str,
    wanted: Sequence[Entry],
    before: Mapping[str, float],
    seconds: dict[str, float],
    drawn: Filled,
    embedded: Filled | None,
    by: str,
) -> int:
    """Write down and print what was done, returns the exit code.

    before: the seconds that earlier runs spent; by: the processor and engine of this one.
    """
    stages = {"draw": drawn} | ({"embed": embedded} if embedded else {})
    seconds |= {name: stage.seconds for name, stage in stages.items()}
    claim(cache, wanted, {name: before.get(name, 0.0) + spent for name, spent in seconds.items()})
    given_up = [line for stage in stages.values() for line in stage.given_up]
    Run.of(stages, given_up, wanted[0].embeddings, by).save(open_storage(cache))
    print(summary(drawn, embedded, seconds))
    for line in given_up:
        print(f"given up after {MOST_RETRIES} retries: {line}", file=sys.stderr)
    return 1 if given_up else 0


def plans(
    cache: str, style: Style, spec: Spec | None, blocks: Sequence[SeriesBlock]
) -> tuple[ImageWork, EmbeddingWork | None]:
    """What is missing now: of the pictures, and of the vectors where a spec of them is given."""
    images = ImageWork.of(cache, style, blocks)
    return images, EmbeddingWork.of(cache, style, spec, blocks) if spec else None


def claim(cache: str, wanted: Sequence[Entry], seconds: Mapping[str, float]) -> dict[str, float]:
    """Write down which pictures this data needs: before the work, so that gc spares them, and after it.

    Returns the drawing and embedding seconds of earlier runs for the same pictures and encoder.
    """
    known = {(entry.file, entry.embeddings): entry.seconds for entry in entries(cache)}
    before: Counter[str] = Counter()
    for entry in wanted:
        earlier = known.get((entry.file, entry.embeddings), {})
        replace(entry, seconds=dict(seconds or earlier)).save(cache)
        before.update({name: earlier.get(name, 0.0) for name in ("draw", "embed")})
    return {name: spent / len(wanted) for name, spent in before.items()}


def summary(drawn: Filled, embedded: Filled | None, seconds: dict[str, float]) -> str:
    """The last line: what was done, what was there, how fast."""
    parts = [f"{drawn.wanted} series, {drawn.distinct} distinct images, {drawn.written} drawn, {drawn.reused} reused"]
    if embedded:
        parts.append(f"{embedded.written} embedded, {embedded.reused} reused")
    took = drawn.seconds + (embedded.seconds if embedded else 0.0)
    parts.append(f"took {took:.0f} s and {(drawn.bytes + (embedded.bytes if embedded else 0)) / 1e6:.1f} MB")
    rates = [f"read {seconds['read']:.1f} s", f"key {seconds['key']:.1f} s ({drawn.wanted / seconds['key']:.0f}/s)"]
    for name, stage in (("draw", drawn), ("embed", embedded)):
        if stage and stage.written:
            rates.append(f"{name} {stage.seconds:.1f} s ({stage.written / stage.seconds:.0f}/s)")
    return "; ".join(parts) + "; " + ", ".join(rates)


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall time of the block to `seconds[name]`."""
    started = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started


if __name__ == "__main__":
    leave(main())
