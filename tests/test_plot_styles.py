"""The rows and the page of benchmarks.plot_styles."""

import pytest

from benchmarks import plot_styles
from pipeline.parser import parse_or_raise
from render_cache import Arguments


def row(variant, value):
    return {
        "data": "zambia_maize",
        "split": "leave-year-out",
        "variant": variant,
        "rmse without": 0.5,
        "rmse with": 0.5 + value,
        "difference": [value, value - 0.01, value + 0.01],
        "groups": "12 years",
        "evidence per 100 rows": 1.25,
        "share": 0.3,
        "commit": "0123456789abcdef",
        "hardware": "a machine",
    }


@pytest.mark.parametrize("variant", plot_styles.VARIANTS, ids=lambda variant: variant.name)
def test_render_cache_draws_each_variant_as_it_is_described(variant):
    args = parse_or_raise(Arguments, variant.flags, None, "python render_cache.py")
    assert args.style == variant.style
    assert args.framing == variant.framing
    assert args.encoder == variant.encoder


def test_the_page_has_the_difference_with_its_interval_and_counts_the_missing_rows():
    page = plot_styles.page([row(plot_styles.VARIANTS[0].name, -0.02), row("encoder x", 0.01)])
    assert "Numbers alone: RMSE 0.500 t/ha." in page
    assert "| 0.4800 | -0.0200 (-0.0300 to -0.0100, 12 years) | +1.25 | 0.30 |" in page
    assert "| encoder x | 0.5100 | +0.0100 (+0.0000 to +0.0200, 12 years) |" in page
    wanted = len(plot_styles.VARIANTS) * sum(map(len, plot_styles.SPLITS.values()))
    assert f"Not made yet: {wanted - 1} of {wanted} rows." in page
    assert "Commit 0123456789ab." in page
