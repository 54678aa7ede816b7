"""python -m cache stats | show: what is in the image cache.

python -m cache stats --json
python -m cache show --out sheet.png --rows 8
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from cache.catalog import entries
from cache.sheet import contact_sheet
from cache.store import CacheError, Store, content_digest
from pipeline.errors import InputError


@dataclass(frozen=True)
class Stats:
    """Count what is committed."""

    cache: Path = Path("image_cache")
    """The cache folder."""
    json: bool = False
    """One JSON object instead of lines."""

    def run(self) -> None:
        """Print series, images, bytes, slabs and the content digest."""
        stats = collect(self.cache)
        if self.json:
            print(json.dumps(stats, indent=1))
            return
        for name, value in stats.items():
            print(f"{name:15} {value}")


@dataclass(frozen=True)
class Show:
    """Draw a contact sheet of cached plots, with sample, variate and window under each."""

    cache: Path = Path("image_cache")
    """The cache folder."""
    out: Path = Path("sheet.png")
    """The PNG to write."""
    data: str = ""
    """Name of the data set; the newest one by default."""
    samples: int = 4
    """How many samples, spread over the data set."""

    def run(self) -> None:
        """Write the sheet."""
        _refuse_unless_cache(self.cache)
        known = entries(self.cache)
        fitting = [entry for entry in known if self.data in ("", entry.name)]
        if not fitting:
            names = ", ".join(sorted({entry.name for entry in known})) or "none"
            raise InputError(
                f"{self.cache} knows no data set {self.data!r}; it has: {names}. Run render_cache.py first."
            )
        if self.samples < 1:
            raise InputError(f"--samples is {self.samples}; at least 1 is needed.")
        contact_sheet(self.cache, fitting[-1], self.samples).save(self.out)
        print(f"{self.out}: {fitting[-1].name}")


def collect(root: Path) -> dict[str, Any]:
    """Counts over all namespaces; `content_digest` covers decoded pictures alone, in any order of work."""
    _refuse_unless_cache(root)
    images = [slab for store in Store.open_all(root, "images") for slab in store.slabs()]
    vectors = {store.spec.id: (store, store.slabs()) for store in Store.open_all(root, "embeddings")}
    every = images + [slab for _, slabs in vectors.values() for slab in slabs]
    known = entries(root)
    return {
        "series": sum(entry.keys.size for entry in known),
        "images": len({key.tobytes() for slab in images for key in slab.keys}),
        "image_bytes": sum(slab.commit.data_bytes for slab in images),
        "bytes": sum(file.stat().st_size for file in root.rglob("*") if file.is_file()),
        "slabs": sum(1 for _ in root.glob("*/*/slabs/[!.]*")),
        "committed": len(every),
        "unfinished": sum(1 for _ in root.glob("*/*/slabs/.*")),
        "content_digest": content_digest(images),
        "embeddings": {
            spec: {
                "encoder": json.loads(store.spec.content)["encoder"]["name"],
                "rows": sum(slab.commit.rows for slab in slabs),
                "dim": store.spec.shape[0],
            }
            for spec, (store, slabs) in vectors.items()
        },
        "datasets": sorted({entry.name for entry in known}),
    }


def _refuse_unless_cache(root: Path) -> None:
    if not (root / "images").is_dir():
        raise InputError(f"{root} is not an image cache (it has no images folder). Run `python render_cache.py` first.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    command: Any = tyro.cli(
        Annotated[Stats, tyro.conf.subcommand("stats")] | Annotated[Show, tyro.conf.subcommand("show")],
        args=arguments,
        prog="python -m cache",
    )
    try:
        command.run()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except CacheError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
