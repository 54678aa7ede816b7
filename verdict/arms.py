"""Every arm of the verdict, as data: its flags for train.py, and the question that its comparison answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from model.presets import PRESETS, PresetName
from pipeline.errors import InputError

Flags = tuple[str, ...]

WITH, WITHOUT = "timesclip", "language-only"
CONVOLUTIONS = "convolutions"  # the ensemble with random convolutions of the numbers in place of pictures
RANDOM_ENCODER = "random:efficientnet-lite0"


@dataclass(frozen=True)
class Arm:
    """One way to forecast.

    `flags` go to both stages, `second` to stage 2 only; `against` is the arm to compare it with.
    """

    name: str
    group: str
    question: str
    flags: Flags = ()
    second: Flags = ()
    against: str = WITH

    def value(self, flag: str, default: str | None = None) -> str | None:
        """The value of `flag` in this arm's flags."""
        return next((after for name, after in pairwise(self.flags) if name == flag), default)


@dataclass(frozen=True)
class BaselineArm:
    """An arm without training: a baseline that train.py computes beside its model, or a map of kernel_baselines."""

    name: str
    group: str
    question: str
    against: str = WITH


def _preset(name: str, question: str, against: str = WITH) -> Arm:
    return Arm(name, "presets", question, ("--preset", name), against=against)


def _alignment(name: str, question: str) -> Arm:
    return Arm(f"alignment {name}", "alignment", question, ("--alignment", name))


def _learner(name: str) -> Arm:
    return Arm(
        f"learner {name}", "learners", "Is this learner alone as good as all of them?", second=("--learner", name)
    )


ARMS: tuple[Arm, ...] = (
    Arm(WITH, "presets", "Do pictures help a model that reads the numbers?", against=WITHOUT),
    _preset(WITHOUT, "Does the model learn anything beyond its offset?", against="offset alone"),
    _preset("vision-only", "How good are pictures alone?", against=WITHOUT),
    _preset("no-alignment", "Is aligning pictures and numbers worth it?"),
    _preset("baseline", "Is the full model better than the system before it?"),
    _preset("simple", "Is the full model better than a plain transformer of its own?"),
    _preset("hierarchical", "Does aligning samples and variates separately help?"),
    _preset("unified", "Does one encoder for every window help?"),
    _preset("optimal", "Do patches of all variates in one sequence help?"),
    _alignment("sample", "Alignment of samples only?"),
    _alignment("variate", "Alignment of variates within a sample only?"),
    Arm("link error", "stage link", "Do the errors of the completion predict the yield?", second=("--link", "error")),
    Arm("link scratch", "stage link", "Does stage 2 need stage 1 at all?", second=("--link", "scratch")),
    Arm("y-range window", "pictures", "Does the level in the picture matter?", ("--style.y-range", "window")),
    Arm("views", "augmentation", "Does training on warped, noisy, masked seasons help?", ("--views", "2")),
    Arm("mixup", "augmentation", "Does mixing pairs of samples help?", ("--mixup",)),
    Arm("balance", "augmentation", "Does drawing rare yields more often help?", ("--balance",)),
    Arm("shuffled", "controls", "Must lose: the pictures of another sample.", ("--control", "shuffled")),
    Arm("noise", "controls", "Must lose: noise in place of pictures, at equal size.", ("--control", "noise")),
    Arm("random encoder", "controls", "Must lose: an untrained encoder.", ("--encoder", RANDOM_ENCODER)),
    Arm(CONVOLUTIONS, "controls", "Decides: do random convolutions of the numbers do as well as their pictures?",
        ("--preset", WITHOUT), ("--blocks", "numbers,convolutions")),
    Arm("more kernels", "controls", "Must lose: a second set of kernels on the same numbers.",
        ("--preset", WITHOUT), ("--blocks", "numbers,numbers-again")),
    _learner("neural"),
    _learner("gp"),
    _learner("trees"),
)  # fmt: skip
CONTROLS = tuple(arm.name for arm in ARMS if arm.group == "controls" and arm.name != CONVOLUTIONS)

# Computed by kernel_baselines.py on the fold's own anomaly: the same numbers and offset, another map.
RBF, BOOSTING = "RBF kernel ridge", "boosting on the anomaly"
LINEAR = "linear kernel ridge"
VECTORS, LINEAR_VECTORS, RBF_VECTORS = "ridge on embeddings", "linear + embeddings", "RBF + embeddings"
MAPS: tuple[BaselineArm, ...] = (
    BaselineArm(RBF, "maps", "Decides: any other non-linear map of the same numbers?"),
    BaselineArm(BOOSTING, "maps", "Decides: any other non-linear map of the same numbers?"),
    BaselineArm(LINEAR, "maps", "Is a linear map of the numbers enough?"),
    BaselineArm(VECTORS, "maps", "How good is ridge on the frozen embeddings alone?"),
    BaselineArm(LINEAR_VECTORS, "maps", "Do embeddings add to a linear map?", against=LINEAR),
    BaselineArm(RBF_VECTORS, "maps", "Do embeddings add to a non-linear map?", against=RBF),
)
DECIDE = (RBF, BOOSTING, CONVOLUTIONS)


def encoder_arm(name: str) -> Arm:
    """An arm whose pictures are embedded by another encoder."""
    return Arm(f"encoder {name}", "pictures", "Is another encoder better?", ("--encoder", name))


def choose(arms: Sequence[Arm], names: Sequence[str]) -> tuple[Arm, ...]:
    """The arms that `names` lists by name or group, plus `timesclip` and `language-only`; all if `names` is empty.

    Raises InputError for an unknown name.
    """
    known = {arm.name for arm in arms} | {arm.group for arm in arms}
    for name in names:
        if name not in known:
            names_, groups = (
                ", ".join(dict.fromkeys(every)) for every in zip(*((a.name, a.group) for a in arms), strict=True)
            )
            raise InputError(f"--arms names {name!r}; the arms are {names_}; the groups are {groups}.")
    wanted = {*names, WITH, WITHOUT} if names else known
    return tuple(arm for arm in arms if arm.name in wanted or arm.group in wanted)


def lacking(arm: Arm, accepts: Callable[[str, str | None], bool]) -> str | None:
    """The flag of the arm that train.py lacks, or None. `accepts` is train.py's own parser."""
    given = (*arm.flags, *arm.second, "--")
    for flag, value in pairwise(given):
        if flag.startswith("--") and flag != "--":
            given_value = None if value.startswith("--") else value
            if not accepts(flag[2:], given_value):
                return f"train.py has no {flag} {given_value or ''}".rstrip()
    return None


def render_flags(arm: Arm, encoder: str) -> Flags:
    """The flags of render_cache.py for the pictures of this arm."""
    flags: Flags = ("--encoder", arm.value("--encoder", encoder) or encoder)
    framing = PRESETS[cast(PresetName, arm.value("--preset", WITH))].framing
    if framing != "halves":
        flags += ("--framing", framing)
    for name in ("--style.y-range", "--views"):
        if (value := arm.value(name)) is not None:
            flags += (name, value)
    return flags
