"""Tables that were read before are the same tables: caches and runs are named after their fingerprints."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sources import read

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data of ../shared/data is not here")


@pytest.mark.parametrize(
    ("card", "fingerprint"),
    [
        ("demo/card.toml", "c0e1a715044045154bbc9e5436d28639"),
        pytest.param("cards/illinois_soybean.toml", "275584eff4bdc1646a79b5efa7c3ae00", marks=needs_data),
        pytest.param("cards/zambia_maize.toml", "00f4a14a80f21986abd1c8b2b1a6b99f", marks=needs_data),
    ],
)
def test_shipped_cards_keep_their_fingerprints_and_raise_no_alarm(card: str, fingerprint: str) -> None:
    table = read(ROOT / card)
    assert table.fingerprint() == fingerprint
    assert [finding.sentence for finding in table.findings if finding.severity == "warning"] == []
    assert table.group.tolist() == list(range(len(table)))
