"""The regimes: leads are of the same regime and paired, and nothing of them gets into the other tables."""

import json

import numpy as np
import pytest
from made_up import (
    make_grid,
    make_scores,
    read,
    write_grid,
    write_report,
    write_run,
    write_scores,
    write_tsne,
)

from asm.report import ablations, comparison, regimes, tables, text

SMALL = {"training.hidden": 64, "optimizer.weight_decay": 0.001}
RULE = {"thresholds.noisy": "per_class"}
# noise, regime -> accuracies of baseline, control, ASM and ASM with the rule; the fit of wrong labels
WANTED = {
    ("n30", "large"): ((0.75, 0.76, 0.82, 0.80), 0.5),
    ("n30", "small"): ((0.80, 0.80, 0.74, 0.79), 0.02),
    ("n00", "large"): ((0.86, 0.87, 0.85, 0.87), None),
    ("n00", "small"): ((0.83, 0.83, 0.76, 0.82), None),
}


def grid_of_regimes() -> dict:
    grid = make_grid(small=True)
    grid["methods"]["two_networks"] = {"title": "Two networks", "told_noise_rate": False}
    grid |= {"input": "features", "hidden": 1024, "backbone": "dlib29", "width": 32}
    grid["inits"] = {"dlib": {"weights": "dlib"}}
    grid["cells"] = [
        {"cell": f"{noise}_{regime}_{tag}_s{seed}", "dataset": "synthetic", "noise": noise, "method": method}
        | {"seed": seed, "init": "dlib", "schedule": "fair"}
        | {"changed": (SMALL if regime == "small" else {}) | rule}
        for noise, regime in WANTED
        for tag, method, rule in (
            ("baseline", "baseline", {}),
            ("control", "two_networks", {}),
            ("asm", "asm", {}),
            ("rule", "asm", RULE),
        )
        for seed in range(3)
    ]
    return grid


@pytest.fixture
def root(tmp_path):
    grid = grid_of_regimes()
    for folder in ("scores", "timing"):
        (tmp_path / folder).mkdir()
    write_grid(tmp_path, grid)
    for cell in grid["cells"]:
        noise, regime, tag, seed = cell["cell"].split("_")
        accuracies, fit = WANTED[noise, regime]
        accuracy = accuracies[("baseline", "control", "asm", "rule").index(tag)] + 0.001 * int(seed[1])
        scores = make_scores(cell, grid, accuracy)
        scores["fit"]["wrong"] = fit
        scores["noise"]["wrong"] = 0 if noise == "n00" else 450
        scores["test"]["valid_accuracy"] = None
        write_scores(tmp_path, scores)
        if cell["seed"] == 0 and not cell["changed"]:
            write_tsne(tmp_path / "tsne" / f"{cell['cell']}.npz", 1, cell["method"] == "asm", 5)
    return tmp_path


def test_leads_are_over_the_baseline_of_the_same_regime(root):
    found = {(row.place[1], row.letter): row for row in regimes.rows(read(root))}
    assert set(found) == {(noise, letter) for noise in ("n00", "n30") for letter in "AB"}
    large, small = found["n30", "A"], found["n30", "B"]
    assert (large.memorised, small.memorised) == pytest.approx((50.0, 2.0))
    assert {name: round(points.mean, 6) for name, points in large.leads.items()} == {
        "Two networks (control)": 1.0,
        "ASM": 7.0,
        "T_n per other class": 5.0,
    }
    assert round(small.leads["ASM"].mean, 6) == -6.0
    assert (large.best, small.best) == ("ASM", None)  # none of them is above the small one's baseline
    # without wrong labels it is the fit of all
    assert found["n00", "A"].memorised == pytest.approx(95.0)


def test_a_longer_warm_up_has_the_baseline_without_it(root):
    grid = grid_of_regimes()
    for seed in range(3):
        late = {**grid["cells"][8], "cell": f"n30_late_asm_s{seed}", "seed": seed, "method": "asm"}
        cell = late | {"noise": "n30", "changed": SMALL | {"training.warmup_epochs": 8}}
        grid["cells"].append(cell)
        write_scores(root, make_scores(cell, grid, 0.77 + 0.001 * seed))
    loaded = read(root, grid)
    late = next(row for row in regimes.rows(loaded) if row.letter == "C")
    assert late.baseline.regime == SMALL
    assert {name: round(points.mean, 6) for name, points in late.leads.items()} == {"ASM": -3.0}
    assert not late.compares  # nothing to be the highest of
    assert "C" not in " ".join(regimes.findings(loaded)).split("Highest: ")[-1]
    panel = regimes.figure(loaded).axes[1]
    hollow = [c[0] for c in panel.containers if c[0].get_markerfacecolor() == "white"]
    assert [line.get_xdata().tolist() for line in hollow] == [[pytest.approx(2 + 0.025 * 48)]]


def test_validation_chooses_where_there_is_any(root):
    grid = grid_of_regimes()
    for cell in grid["cells"]:
        tag = cell["cell"].split("_")[2]
        if tag in ("asm", "rule"):
            path = root / "scores" / f"{cell['cell']}.json"
            scores = json.loads(path.read_text())
            # misled at 30 % in the large regime: the rule, 2 points below ASM there
            scores["test"]["valid_accuracy"] = 0.8 + 0.01 * (tag == "rule")
            path.write_text(json.dumps(scores))
    # the rule over ASM: -2, +5, +2 and +6 points
    assert regimes.findings(read(root))[-1] == (
        "Chosen by validation accuracy in each setting: the highest on test in 3 of 4, at most 2.0 points "
        "below it. One for all settings, so chosen: T_n per other class, on test -2.0 to +6.0 points over "
        "ASM, +2.8 on average."
    )


def test_what_is_said_rests_on_the_leads(root):
    said = " ".join(regimes.findings(read(root)))
    assert "B: 64 hidden units, weight decay 0.001" in regimes.legend(read(root))
    assert "above the baseline in A, where that fits 50 % of the wrong labels (+7.0 points)" in said
    assert "below the baseline in B, where that fits 2 % of the wrong labels (-6.0 points)" in said
    assert "T_n per other class (-2.0 to +6.0 points; below in 1 of 4" in said
    assert "No rule is the highest everywhere." in said
    assert "read off the test set" in said  # there are no validation images


def test_regimes_stay_out_of_the_other_tables(root):
    grid = read(root)
    assert not any(ablations.is_ablation_row(grid, group) for group in grid.groups())
    table = tables.table1(grid).frame
    asm = table[(table["Noise"] == "30 %") & (table["Method"] == "ASM")]
    assert [value.mean for value in asm["ours: synthetic"]] == pytest.approx([82.1])
    assert all(not group.regime for group in text.by_place(grid))
    assert len(comparison.gaps(grid)) == 2


def test_the_page_shows_table_and_figure(root):
    out = write_report(root)
    content = (out / "README.md").read_text(encoding="utf-8")
    assert "## When mining helps" in content
    assert "**+7.0 ± 0.0**" in content
    assert (out / "figures" / "figR_regimes.png").is_file()


def test_the_figure_has_a_panel_a_noise_and_the_papers_leads_at_thirty_percent(root):
    figure = regimes.figure(read(root))
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 2
    labels = [[note.get_text() for note in axes.texts] for axes in figure.axes]
    assert any("paper: FERPlus" in label for label in labels[1])
    lines = [
        np.asarray(container[0].get_xdata(), dtype=float)
        for container in figure.axes[1].containers
        if container.get_label() == "ASM"
    ]
    assert lines[0].tolist() == pytest.approx([2.0, 50.0])


def test_a_profile_without_regimes_has_none_of_it(tmp_path):
    loaded = read(write_run(tmp_path, make_grid(small=True)))
    assert regimes.rows(loaded) == []
    assert regimes.findings(loaded) == []
    assert regimes.figure(loaded) is None


def test_a_frozen_backbone_is_said_to_be_frozen(root):
    grid = read(root)
    assert (
        "Frozen backbone: dlib29 of width 32, images 48 × 48 px; weights: dlib. Trained: heads of 1024 "
        "hidden units on its features, whose views are drawn from a bank."
    ) in text.settings(grid)
    said = " ".join(text.shortcomings(grid))
    assert "analogue of the paper's pre-training on MS-Celeb-1M, not those weights" in said
    assert "the paper fine-tunes all layers" in said
    assert "backbone dlib29 (resnet18), image size 48 (224)" in said
    assert "width" not in said  # of another network
    assert "re-implementations" not in said  # the control is none
