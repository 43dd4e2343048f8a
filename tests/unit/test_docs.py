"""What the docs say is so: commands exist, samples are verbatim, reference pages are fresh, nothing is named that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hack import gen_docs

REPO = Path(__file__).resolve().parents[2]
PAGES = [path for path in REPO.rglob("*.md") if not {".venv", "artifacts", "node_modules"} & set(path.parts)]
README = (REPO / "README.md").read_text()


def test_the_manifest_in_the_readme_is_the_sample():
    (shown,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert yaml.safe_load(shown) == yaml.safe_load((REPO / "crds" / "samples" / "gemma.yaml").read_text())


def test_every_make_target_that_a_page_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"`(?:[A-Z_]+=\S+ )*make (?:-s )?([a-z-]+)", page.read_text())}
    assert named - targets == set()


def test_the_readme_shows_the_two_commands():
    assert re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL) == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_every_link_between_pages_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("path", gen_docs.outputs(), ids=lambda path: path.name)
def test_generated_pages_are_fresh(path):
    assert path.read_text() == gen_docs.outputs()[path]


def test_no_page_or_source_names_a_machine_path():
    suspicious = re.compile(r"(^|[^a-zA-Z0-9._-])/(work|root|home)/[a-z]")
    files = [
        path
        for folder in ("operator", "hack", "tests", "charts", "crds", "docs")
        for path in (REPO / folder).rglob("*")
        if path.suffix in (".py", ".md", ".yaml", ".go")
    ]
    assert [str(path) for path in [*files, *PAGES] if suspicious.search(path.read_text())] == []
