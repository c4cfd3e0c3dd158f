"""The README's numbers are those of the committed reports, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize(("place", "anchor"), [(0, "table1"), (1, "table1_classes")])
def test_the_tables_of_the_readme_are_those_of_the_ferplus_page(place, anchor):
    page = (ROOT / "profiles" / "ferplus" / "reports" / "README.md").read_text(encoding="utf-8")
    lines = [
        re.sub(r"<a .*?</a>", "", line) for line in page.splitlines() if f'id="{anchor}-ferplus-' in line
    ]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    ours = {row[1]: row[2:6] for row in rows}
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## ")[0]
    table = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)[place].splitlines()[2:]
    assert len(table) == 6
    for line in table:
        method, *shown = (cell.strip() for cell in line.strip("|").split("|"))
        assert shown == ours[method]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_one_version_everywhere():
    shown = subprocess.run(
        [sys.executable, "-m", "asm", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    version = shown.stdout.split()[-1]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text()
