"""The committed reports are what the code makes of the committed scores."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from asm import report
from asm.config.grid import grid
from asm.config.params import load_params
from asm.config.profile import load_profile

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = "demo"
FOLDERS = {DEFAULT: ROOT / "reports"} | {
    path.parent.parent.name: path.parent
    for path in ROOT.glob("profiles/*/reports/scores")
    if any(path.glob("*.json"))
}
# seconds are in no scores: they differ from run to run, and cost.csv has them in fewer digits
TIMED = ("cost.csv", "table_related.csv", "table_related.md", "table_related.tex")
BANNER = "> "  # of which commit older runs are, written by hand


@pytest.mark.parametrize("profile", FOLDERS)
def test_the_report_is_what_the_code_makes_of_its_scores(profile, tmp_path):
    committed = FOLDERS[profile]
    loaded = load_profile(ROOT / "profiles" / profile / "profile.yaml")
    content = grid(load_params(ROOT / "params.yaml"), loaded, profile)
    (tmp_path / "report.yaml").write_text(
        yaml.safe_dump(content | {"code": ""}, sort_keys=True, allow_unicode=True)
    )
    timing, tsne = tmp_path / "timing", tmp_path / "tsne"  # the features of t-SNE are not committed either
    timing.mkdir()
    tsne.mkdir()
    cost = pd.read_csv(committed / "tables" / "cost.csv").dropna(subset="seconds_per_epoch")  # not run yet
    for cell, seconds in zip(cost["cell"], cost["seconds_per_epoch"], strict=True):
        pd.DataFrame({"busy_seconds": [seconds]}).to_csv(timing / f"{cell}.csv", index=False)
    report.write(tmp_path / "report.yaml", committed / "scores", timing, tsne, tmp_path / "out")

    for folder in ("tables", "figures"):
        made = {path.name: path.read_bytes() for path in (tmp_path / "out" / folder).iterdir()}
        there = {path.name for path in (committed / folder).iterdir() if "tsne" not in path.name}
        assert set(made) == there
        for name in there - set(TIMED):
            assert made[name] == (committed / folder / name).read_bytes(), name

    page = [
        line for line in (committed / "README.md").read_text().splitlines() if not line.startswith(BANNER)
    ]
    made = (tmp_path / "out" / "README.md").read_text().splitlines()
    related = (committed / "tables" / "table_related.md").read_text().splitlines()
    other = {line for line in page if line not in made}
    assert {line for line in other if line not in related and "t-SNE" not in line} == set()
    assert len(made) >= len(page) - len(related) - 8  # two figures and their captions, and empty lines
