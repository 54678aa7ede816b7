"""The dataset card: a small TOML file beside the data that explains its columns."""

from pipeline.card.dataset_card import DatasetCard
from pipeline.card.flatten import is_there
from pipeline.card.safe_names import LONGEST_NAME, control_character, safe_name
from pipeline.card.sections import ExcludeCard, SourceCard, VariateCard
from pipeline.card.values import StepDays, columns_of, place_key

__all__ = [
    "LONGEST_NAME",
    "DatasetCard",
    "ExcludeCard",
    "SourceCard",
    "StepDays",
    "VariateCard",
    "columns_of",
    "control_character",
    "is_there",
    "place_key",
    "safe_name",
]
