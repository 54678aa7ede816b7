"""What pictures cost is told of the encoder that the arm reads, whatever else has filled the cache."""

import json
import math

from cache.fill import Filled
from cache.run_log import Run, past_runs
from cache.storage import open_storage
from verdict.render_costs import FILE, prices


def filled(seconds):
    return Filled(wanted=100, distinct=100, written=100, bytes=0, seconds=seconds)


def test_the_price_is_that_of_the_arms_own_encoder(tmp_path):
    cache, out = str(tmp_path / "cache"), tmp_path / "out"
    out.mkdir()
    storage = open_storage(cache)
    for spec, seconds in (("fast", 2.0), ("slow", 50.0)):
        Run.of({"draw": filled(1.0), "embed": filled(seconds)}, [], spec).save(storage)
    assert [run.embeddings for run in past_runs(storage)] in (["fast", "slow"], ["slow", "fast"])
    kinds = {
        spec: {"pictures": 100, "embedded": 0, "seconds": 0.0, "embeddings": spec} for spec in ("fast", "slow", "new")
    }
    kinds |= {"mine": {"pictures": 100, "embedded": 50, "seconds": 4.0, "embeddings": "slow"}}
    (out / FILE).write_text(json.dumps(kinds))
    found = prices(out, {kind: kind for kind in kinds}, cache, samples=10)
    assert [found[kind].embed for kind in ("fast", "slow", "mine")] == [2.0, 50.0, 8.0]
    assert math.isnan(found["new"].embed)  # nothing tells what its encoder takes
    assert found["fast"].per_thousand == 1000 * (1.0 + 2.0) / 10
    assert [found[kind].measured for kind in ("mine", "slow")] == [True, False]
