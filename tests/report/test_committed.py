"""The committed reports are what the code makes of the committed scores."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from asm import report
from asm.grid.params import load_params
from asm.grid.profile import load_profile
from asm.grid.resolve import grid

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = "demo"
FOLDERS = {DEFAULT: ROOT / "reports"} | {
    path.parent.parent.name: path.parent
    for path in ROOT.glob("profiles/*/reports/scores")
    if any(path.glob("*.json"))
}
BANNER = "> "  # of which commit older runs are, written by hand


def text(path: Path) -> str:
    """A page without what t-SNE adds to it, whose features are not committed."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(BANNER)]
    lines = [line for line in lines if "t-SNE" not in line and line != "## Fig. 1"]
    return re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip()


@pytest.mark.parametrize("profile", FOLDERS)
def test_the_report_is_what_the_code_makes_of_its_scores(profile, tmp_path):
    committed = FOLDERS[profile]
    loaded = load_profile(ROOT / "profiles" / profile / "profile.yaml")
    content = grid(load_params(ROOT / "params.yaml"), loaded, profile)
    (tmp_path / "report.yaml").write_text(
        yaml.safe_dump(content | {"code": ""}, sort_keys=True, allow_unicode=True)
    )
    timing, tsne, out = (tmp_path / name for name in ("timing", "tsne", "out"))
    timing.mkdir()
    tsne.mkdir()
    cells = pd.read_csv(committed / "tables" / "cells.csv").dropna(subset="seconds")
    for cell, seconds in zip(cells["cell"], cells["seconds"], strict=True):
        pd.DataFrame({"busy_seconds": [seconds]}).to_csv(timing / f"{cell}.csv", index=False)
    report.write(tmp_path / "report.yaml", committed / "scores", timing, tsne, out)

    for folder in ("tables", "figures"):
        made = {path.name: path.read_bytes() for path in (out / folder).iterdir()}
        there = {path.name for path in (committed / folder).iterdir() if "tsne" not in path.name}
        assert set(made) == there
        for name in there:
            assert made[name] == (committed / folder / name).read_bytes(), name
    for name in ("README.md", "details.md"):
        assert text(out / name) == text(committed / name)
