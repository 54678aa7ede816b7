"""docs/pretraining.md, from the saved rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.pretraining.variants import as_variants
from stages.inputs.initial_weights import PACKAGED

NAMES = {
    "demo": "demo (simulated)",
    "illinois_soybean": "Illinois soybean",
    "zambia_maize": "Zambia maize",
    "cybench_maize_ES": "CY-Bench maize, Spain",
}
STARTS = ("from scratch", "without fine-tuning", "fine-tuned")
Row = Mapping[str, Any]


def page(rows: Sequence[Row], variants: Sequence[Row]) -> str:
    """The whole page."""
    commits = sorted({row["commit"][:12] for row in (*rows, *variants)})
    weights = sorted({row["initial_weights"]["weights"] for row in rows})
    parts = [
        "# Pretraining of stage 1",
        INTRODUCTION,
        "## In short",
        in_short(rows),
        "## Alignment",
        ALIGNMENT,
        *alignment_table(rows),
        "![The five nearest series of some plots, before and after](pretraining.png)",
        "## Completion",
        COMPLETION,
        *completion_table(rows),
        "## Yield",
        YIELD,
        *yield_table(rows),
        *further_sections(rows, variants),
        "## The packaged weights",
        *packaged(),
        f"Rows: commit {', '.join(commits)}; weights {', '.join(weights)}; {rows[0]['hardware']}.",
    ]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """`python -m benchmarks.pretraining` writes this page; do not edit it. The rows are in
`benchmarks/results/pretraining/`.

A few hundred seasons cannot teach a model what 1,280 numbers of a picture mean. `pretrain.py` therefore learns
alignment and completion on simulated series without labels, and stage 1 can start from its weights.

    python pretrain.py                                          # simulate, draw, embed, train; for any encoder
    python train.py --stage 1                                   # starts from the packaged weights if they fit
    python train.py --stage 1 --init none                       # from scratch
    python train.py --stage 1 --init runs/x                     # from weights that pretrain.py made
    python complete.py --data new.csv --out completed.csv       # complete seasons without any training

* **Corpus** (`pipeline/simulated_corpus`): tables of Gaussian processes with composed kernels (KernelSynth of Chronos),
  double-logistic seasons, weather, and walks. Variates of a sample mix the same few courses, as bands and indices do.
  In two thirds of the tables, samples also share a course, as seasons of one climate do. Windows have 6 to 52 steps.
  Levels, amplitudes, noise, gaps, y-ranges and colours differ. A quarter of the tables is drawn as whole seasons, one
  in six in the y-range `window`. The corpus reads no real table.
* **One set of weights** serves every number of variates and every window: each step trains the slice that a run on a
  table of these sizes would use (`model/initial_weights.py`).
* **Level.** Pictures in a fixed y-range show the level; numbers after the instance norm do not. Models that start from
  weights have one more token on the text side: mean and spread of the window, in units of the y-range. They also share
  one norm of the picture vectors. They align both windows of a season, and their learning rate is 2e-3. Runs from
  scratch align the first window, at 1e-3.
* **Digests** of weights, corpus recipe and encoder are in `result.json` as `initial_weights`. If the weights do not
  fit (another encoder, another patch, another width), one of the first lines of output says why.
* No number here was measured with CLIP. EfficientNet-Lite0 embedded the pictures."""

ALIGNMENT = """Batches of 56 pairs of a picture and its numbers (8 samples of 7 variates), both directions summed: 8.05
without any alignment. In brackets: share of pictures whose own numbers are nearest (1.8 % by chance). The floor is the
loss of a model that fails only among series whose difference has an RMS below 0.1 training spreads. Split `year`;
first windows. Here and below, ± is the standard deviation over seeds."""

COMPLETION = """RMSE over the range of the training rows, from the steps before the cut to those after it.
`complete.py` uses the weights without fine-tuning, and learns nothing from the table except the scales of the steps
before the cut. Persistence repeats the last value, climatology is the mean of the training rows at each step, and
ridge reads all steps of all variates before the cut, with gaps filled. Both trained models mix ridge into their
completion, with a weight that the validation rows select."""

YIELD = """RMSE in t/ha of stage 2's neural heads on the tokens of both kinds of stage 1 (`--learner neural`). The other
learners of the ensemble read numbers and picture vectors, so stage 1 does not change them. *Left out* are the training
and validation rows, forecast by heads that were not fitted on their year."""


FEWER = """`--share` draws this share of the training and validation rows by the seed, for both stages. Completion (RMSE
over the range of all training rows) and alignment (batches of 56 pairs) are those of test rows. Left-out rows are those
that were drawn, so their yield errors compare the two starts, not the shares."""

OTHER = """The alignment that fine-tuning minimises, from the same pretrained weights. `alignment_56` compares single
pairs in a batch. `sample` is not trained for that, as it compares means over variates; `hierarchical` compares these
means, and the variates within a sample."""


def in_short(rows: Sequence[Row]) -> str:
    """The main figures, test rows unless stated otherwise."""
    tables = by_table(rows)

    def score(name: str, *keys: str) -> float:
        return float(np.mean(over(tables[name], *keys)))

    loss = {start: [score(name, "alignment", start, "test", "alignment_56") for name in tables] for start in STARTS}
    change = [score(name, "completion", "fine-tuned", "test") / score(name, "completion", "from scratch", "test") - 1
              for name in tables]  # fmt: skip
    ahead = {
        rival: sum(score(name, "completion", "fine-tuned", "test") < score(name, "completion", rival, "test")
                   for name in tables)
        for rival in ("persistence", "climatology", "ridge")
    }  # fmt: skip
    untrained = sum(score(name, "completion", "complete.py", "test") < score(name, "completion", "climatology", "test")
                    for name in tables)  # fmt: skip
    before, after = ([score(name, "yield", start, "left out", "neural") for name in tables]
                     for start in ("from scratch", "fine-tuned"))  # fmt: skip
    moved = [late - early for early, late in zip(before, after, strict=True)]
    lower = sum(late < 0.99 * early for early, late in zip(before, after, strict=True))
    ranges = {start: f"{min(values):.2f} to {max(values):.2f}" for start, values in loss.items()}
    rivals = ", ".join(f"{rival} on {count}" for rival, count in ahead.items())
    return "\n".join(
        [
            f"* **Alignment** on test rows: {ranges['from scratch']} from scratch, {ranges['without fine-tuning']} "
            f"with the weights alone, {ranges['fine-tuned']} fine-tuned.",
            f"* **Completion**: fine-tuning from the weights changes the error from scratch by {min(change):+.0%} to "
            f"{max(change):+.0%}. Of {len(tables)} tables, the fine-tuned model is ahead of {rivals}. Without training "
            f"(`complete.py`), it is ahead of climatology on {untrained}.",
            f"* **Yield**: on left-out rows, the RMSE of the heads that read the tokens changes by {min(moved):+.3f} "
            f"to {max(moved):+.3f} t/ha. It is lower by more than 1 % on {lower} of {len(tables)} tables.",
        ]
    )


def over(rows: Iterable[Row], *keys: str) -> list[float]:
    """One number per row, by its keys."""
    found = []
    for row in rows:
        value: Any = row
        for key in keys:
            value = value[key]
        found.append(float(value))
    return found


def mean(values: Sequence[float], digits: int = 2) -> str:
    """The mean, and the standard deviation over seeds unless they all agree."""
    text = f"{np.mean(values):.{digits}f}"
    return text + (f" ± {np.std(values, ddof=1):.{digits}f}" if len(set(values)) > 1 else "")


def by_table(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each table, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["table"], []).append(row)
    return found


def alignment_table(rows: Sequence[Row]) -> list[str]:
    """One line per table and start."""
    lines = [
        "| table (window) | stage 1 | training rows | test rows | floor, test rows | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for name, own in by_table(rows).items():
        for start in STARTS:
            cells = []
            for part in ("train", "test"):
                loss, found = (over(own, "alignment", start, part, key) for key in ("alignment_56", "retrieval_56"))
                cells.append(f"{mean(loss)} ({np.mean(found):.1%})")
            floor = f"{np.mean(over(own, 'alignment', start, 'test', 'alignment_56_floor')):.2f}"
            table = f"{NAMES[name]} ({own[0]['window']} steps)"
            lines.append("| " + " | ".join([table, start, *cells, floor, str(len(own))]) + " |")
    return ["\n".join(lines)]


def completion_table(rows: Sequence[Row]) -> list[str]:
    """One line per way to complete, one column per table."""
    tables = by_table(rows)
    titles = [title for title in dict.fromkeys(t for row in rows for t in row["completion"]) if title != STARTS[1]]
    lines = ["| test rows | " + " | ".join(NAMES[name] for name in tables) + " |", "|---" * (len(tables) + 1) + "|"]
    for title in titles:
        cells = [mean(over(own, "completion", title, "test"), 4) if title in own[0]["completion"] else "not known"
                 for own in tables.values()]  # fmt: skip
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return ["\n".join(lines)]


def yield_table(rows: Sequence[Row]) -> list[str]:
    """One line per table and start."""
    lines = [
        "| table | stage 1 | left-out rows | offset alone, left-out rows | test rows | epochs of stage 1 |",
        "|---|---|---|---|---|---|",
    ]
    for name, own in by_table(rows).items():
        for start in ("from scratch", "fine-tuned"):
            keys = (("left out", "neural"), ("left out", "offset"), ("test", "neural"))
            cells = [mean(over(own, "yield", start, *key), 3) for key in keys]
            cells.append(mean(over(own, "epochs", start), 0))
            lines.append(f"| {NAMES[name]} | {start} | " + " | ".join(cells) + " |")
    return ["\n".join(lines)]


def further_sections(rows: Sequence[Row], variants: Sequence[Row]) -> list[str]:
    """Fewer training rows, and other alignments; nothing if no such row was made."""
    fewer = [row for row in variants if row["variant"].startswith("share-")]
    other = [row for row in variants if row["variant"].startswith("alignment-")]
    parts = []
    if fewer:
        parts += ["## Fewer training rows", FEWER, *variant_table(rows, fewer, "training rows")]
    if other:
        parts += ["## Other alignments", OTHER, *variant_table(rows, other, "alignment")]
    return parts


def variant_table(rows: Sequence[Row], variants: Sequence[Row], column: str) -> list[str]:
    """One line per table, setting and start; the main rows with the same seeds stand last."""
    lines = [
        f"| table | {column} | stage 1 | completion | alignment | yield, left-out rows | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    seeds = {row["seed"] for row in variants}
    main = as_variants([row for row in rows if row["seed"] in seeds])
    for name, own in by_table([*variants, *main]).items():
        for setting in dict.fromkeys(row["variant"] for row in own):
            alike = [row for row in own if row["variant"] == setting]
            starts = variants[0]["scores"] if setting == "main" else alike[0]["scores"]
            what = setting_name(setting, alike[0], column)
            for start in starts:
                scores = [row["scores"][start] for row in alike]
                found = np.mean(over(scores, "retrieval_56"))
                cells = [NAMES[name], what, start, mean(over(scores, "rmse_over_range"), 4),
                         f"{mean(over(scores, 'alignment_56'))} ({found:.1%})",
                         mean(over(scores, "yield", "left out", "neural"), 3), str(len(alike))]  # fmt: skip
                lines.append("| " + " | ".join(cells) + " |")
    return ["\n".join(lines)]


def setting_name(setting: str, row: Row, column: str) -> str:
    """A setting in words: a share with its number of rows, or the name of an alignment."""
    if column == "alignment":
        return "flat" if setting == "main" else f"{setting.removeprefix('alignment-')}"
    share = 1.0 if setting == "main" else float(setting.removeprefix("share-"))
    return f"{share:.0%} ({row['rows']['train']})"


def packaged() -> list[str]:
    """The model cards of the packaged weights, one heading level lower."""
    return [path.read_text().replace("# ", "### ", 1).strip() for path in sorted(PACKAGED.glob("*.md"))]
