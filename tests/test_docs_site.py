"""The documentation builds as a site without a warning, and the site opens and searches without a network."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.browser import NEEDS, opened

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("material") is None, reason="mkdocs-material is not installed"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


def test_every_page_is_in_the_site(site):
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} == {path.stem for path in site.glob("*.html")} - {"404"}


def test_no_font_script_or_picture_comes_from_elsewhere(site):
    loaded = [
        source
        for page in site.glob("*.html")
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text())
        for source in re.findall(r'(?:src|href)="([^"]*)"', tag)
    ]
    assert loaded
    assert [source for source in loaded if "//" in source] == []


@NEEDS
def test_search_works_in_a_page_from_the_disk(site):
    script = """addEventListener("load", () => setTimeout(() => {
        const query = document.querySelector("[data-md-component=search-query]")
        query.focus()
        query.value = "hierarchical"
        query.dispatchEvent(new Event("keyup", { bubbles: true }))
    }, 3000))"""
    page, errors = opened(site / "index.html", site, script)
    assert errors == []
    assert re.search(r"\d+ matching documents", page)
    assert "models.html" in re.search(r"md-search-result__list.*", page, re.DOTALL)[0]
