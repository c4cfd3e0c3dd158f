"""The README's tables are those of the committed reports; what the pages name and link to exists."""

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
REPORTS = [*ROOT.glob("reports/*.md"), *ROOT.glob("profiles/*/reports/*.md")]


def _measured(anchor: str) -> dict[str, list[str]]:
    """The cells of FER+'s page by method: at 0, 10, 20 and 30 % noise, then on FER2013's own labels."""
    page = (ROOT / "profiles" / "ferplus" / "reports" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(rf'^\| <a id="{anchor}-ferplus7?-[^"]*"></a>(.*)\|$', page, re.MULTILINE)
    cells: dict[str, list[str]] = {}
    for name, method, *shown in ([cell.strip() for cell in row.split("|")] for row in rows):
        cells[method] = shown[:4] if name == "ferplus" else [*cells[method], shown[4]]
    return cells


def _table(page: str, place: int) -> list[list[str]]:
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)[place].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(("place", "anchor"), [(0, "table1"), (1, "table1_classes")])
def test_the_tables_of_the_readme_are_those_of_the_ferplus_page(place, anchor):
    measured = _measured(anchor)
    table = _table("README.md", place)
    assert len(table) == 7
    for method, *shown in table:
        assert shown == measured[method]


def _anchors(page: Path) -> set[str]:
    """What a link may name after `#`: headings as GitHub spells them, and explicit ids."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings} | set(
        re.findall(r'id="([^"]+)"', text)
    )


@pytest.mark.parametrize("page", [*PAGES, *REPORTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), f"{link}#{anchor}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda path: path.name
)
def test_commands_and_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    for line in [*"\n".join(blocks).splitlines(), *spans]:
        words = line.partition(" #")[0].split()
        for word in words:
            if re.fullmatch(r"(asm|benchmarks|docs|driver|stages|tests)/[\w/.-]+", word):
                assert (ROOT / word).exists(), line
            if profile := re.fullmatch(r"PROFILE=([a-z_]+)", word):
                assert profile[1] == "mine" or (ROOT / "profiles" / profile[1]).is_dir(), line
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= {*targets, "..."}, line
        if command := re.match(r"(?:python -m asm|asm-fer) (\w+)(.*)", " ".join(words)):
            parser = argparse.ArgumentParser()
            importlib.import_module(f"asm.tools.{command[1]}").add_arguments(parser)
            if command[2]:
                parser.parse_args(shlex.split(command[2]))


def test_one_version_everywhere():
    shown = subprocess.run(
        [sys.executable, "-m", "asm", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    version = shown.stdout.split()[-1]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text()
