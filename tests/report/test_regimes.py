"""The regimes: leads are of the same regime and paired, and nothing of them gets into the other tables."""

import json
import re

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

from asm.report import drawing, figures, page, regimes, tables
from asm.report.cells import canonical

SMALL = {"training.hidden": 64, "optimizer.weight_decay": 0.001}
RULE = {"losses.lambda_max": 0}
# noise, regime -> accuracies of baseline, control, ASM and ASM with the rule; the fit of wrong labels
WANTED = {
    ("n30", "large"): ((0.75, 0.76, 0.82, 0.80), 0.5),
    ("n30", "small"): ((0.80, 0.80, 0.74, 0.79), 0.02),
    ("n00", "large"): ((0.86, 0.87, 0.85, 0.87), None),
    ("n00", "small"): ((0.83, 0.83, 0.76, 0.82), None),
}


def grid_of_regimes() -> dict:
    grid = make_grid(small=True)
    grid["methods"]["two_networks"] = {"title": "Two networks", "told_noise_rate": False, "ours": False}
    grid |= {"input": "features", "hidden": 1024, "backbone": "dlib29", "width": 32}
    grid["inits"] = {"dlib": {"about": "dlib"}}
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
    assert (large.baseline["fit"].mean, small.baseline["fit"].mean) == pytest.approx((50.0, 2.0))
    for measure in ("accuracy", "mean_class_accuracy"):
        leads = {name: row[f"{measure}_over_baseline"].mean for name, row in large.all.items()}
        control = {"Two networks (control)": pytest.approx(1)}
        assert leads == control | {regimes.ASM: pytest.approx(7), "λ_max 0": pytest.approx(5)}
        assert small.mining[regimes.ASM][f"{measure}_over_baseline"].mean == pytest.approx(-6)
    assert found["n00", "A"].baseline["fit"].mean == pytest.approx(95)  # without wrong labels: the fit of all


def test_a_longer_warm_up_has_the_baseline_without_it(root):
    grid = grid_of_regimes()
    for seed in range(3):
        late = {**grid["cells"][8], "cell": f"n30_late_asm_s{seed}", "seed": seed, "method": "asm"}
        cell = late | {"noise": "n30", "changed": SMALL | {"training.warmup_epochs": 8}}
        grid["cells"].append(cell)
        write_scores(root, make_scores(cell, grid, 0.77 + 0.001 * seed))
    late = next(row for row in regimes.rows(read(root, grid)) if row.letter == "C")
    assert late.baseline["regime"] == canonical(SMALL)
    assert late.mining[regimes.ASM]["accuracy_over_baseline"].mean == pytest.approx(-3)


def test_what_is_ours_is_a_rule_among_those_of_asm(root):
    grid = grid_of_regimes()
    for seed in range(3):
        cell = {**grid["cells"][8], "cell": f"n30_fair_s{seed}", "seed": seed, "noise": "n30"}
        grid["cells"].append(cell | {"method": "fair_asm", "changed": {}})
        write_scores(root, make_scores(grid["cells"][-1], grid, 0.84 + 0.001 * seed))
    rule = {line["Rule"]: line for line in regimes.table_rules(read(root, grid)).frame.to_dict("records")}
    assert rule["Fair ASM (ours)"]["− ASM: accuracy"] == "+2.0 (+2.0 to +2.0), 1 / 0"


def rules(root) -> dict:
    return {line["Rule"]: line for line in regimes.table_rules(read(root)).frame.to_dict("records")}


def test_the_rules_are_summed_up_over_all_settings(root):
    # the rule over ASM: -2, +5, +2 and +6 points; its leads 5, -1, 1 and -1
    rule = rules(root)["λ_max 0"]
    for words in ("accuracy", "mean class accuracy"):
        assert rule[f"− ASM: {words}"] == "+2.8 (-2.0 to +6.0), 3 / 1"
        assert rule[f"− baseline: {words}"] == "+1.0 (-1.0 to +5.0), 2 / 2"
    assert rule["settings"] == 4
    assert "chosen by validation in" not in rule  # no validation images


def test_a_rule_of_fewer_settings_is_not_the_best_whatever_its_mean(root):
    grid = grid_of_regimes()
    cell = {**grid["cells"][9], "cell": "n30_large_few_s0", "seed": 0, "changed": {"losses.beta": 9}}
    grid["cells"].append(cell)
    write_scores(root, make_scores(cell, grid, 0.95))
    assert list(regimes.rules(read(root, grid)))[-1] == "β 9"
    assert "β 9" not in " ".join(regimes.findings(read(root, grid)))


def test_validation_chooses_where_there_is_any(root):
    for cell in grid_of_regimes()["cells"]:
        tag = cell["cell"].split("_")[2]
        path = root / "scores" / f"{cell['cell']}.json"
        scores = json.loads(path.read_text())
        # ASM's is higher in the large regime, the rule's in the small one
        better = ("asm" if "large" in cell["cell"] else "rule") == tag
        scores["test"]["valid_accuracy"] = 0.8 + 0.01 * better
        path.write_text(json.dumps(scores))
    assert {name: line["chosen by validation in"] for name, line in rules(root).items()} == {
        regimes.ASM: 2,
        "λ_max 0": 2,
    }


def test_what_is_said_rests_on_the_leads(root):
    said = " ".join(page.verdict(read(root)))
    span = r"\(-7\.0 to \+7\.0; above it in 1, below it in 3\)"  # 7, -6, -1 and -7
    asm = " and ".join(
        rf"-1\.[78] points of {measure} {span}" for measure in ("accuracy", "mean class accuracy")
    )
    assert re.search(f"Over 4 settings {regimes.ASM} differs from the baseline by {asm} ", said)
    span = "(-2.0 to +6.0; above it in 3, below it in 1)"
    rule = f"+2.8 points of accuracy {span} and +2.8 points of mean class accuracy {span}"
    assert f"Over 4 settings λ_max 0 differs from ASM by {rule} " in said
    assert len(page.verdict(read(root))) <= 5


def test_regimes_stay_out_of_the_other_tables(root):
    results = read(root)
    entry = tables.table1(results).frame.set_index("Method").loc["ASM", "30 %"]
    assert entry.ours.mean == pytest.approx(82.1)
    assert len(tables.table_leads(results).frame) == 5


def test_the_page_shows_tables_and_figure(root):
    out = write_report(root)
    content = (out / "README.md").read_text(encoding="utf-8")
    assert "## When mining helps" in content
    assert "+7.0 ± 0.0" in (out / "details.md").read_text(encoding="utf-8")
    assert "B: 64 hidden units, weight decay 0.001" in content
    assert "heads of 1024 hidden units on the frozen features" in content
    found = {row["Setting"]: row for row in page.settings(read(root))}
    assert (found["backbone"]["here"], found["backbone"]["in the paper"]) == ("dlib29", "resnet18")
    assert "width" not in found  # of another network
    assert (out / "figures" / "figR_regimes.png").is_file()


def test_the_figure_has_a_column_a_noise_a_row_a_measure_and_the_papers_lead(root):
    grid = grid_of_regimes()
    grid["datasets"]["synthetic"]["paper"] = "ferplus"
    with drawing.style():
        figure = figures.leads(read(root, grid))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["synthetic, 0 % noise", "synthetic, 30 % noise"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [regimes.ASM, "λ_max 0", "Two networks (control)"]
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert ["the paper's: +6.9" in texts for texts in said] == [False, True, False, False]
    line = next(line for line in figure.axes[1].get_lines() if len(line.get_xdata()) == 2)
    assert line.get_xdata().tolist() == pytest.approx([2.0, 50.0])
    assert line.get_ydata().tolist() == pytest.approx([-6, 7])


def test_any_subset_of_the_cells_can_be_missing(root):
    for i, path in enumerate(sorted((root / "scores").iterdir())):
        if i % 3:
            path.unlink()
    results = read(root)
    built = page.build(results)
    assert page.render(results, built, {})[0].startswith("# Results: profile made_up")


def test_a_profile_without_regimes_has_none_of_it(tmp_path):
    results = read(write_run(tmp_path, make_grid(small=True)))
    assert regimes.rows(results) == []
    assert regimes.findings(results) == []
    assert figures.leads(results) is None
    assert "table_regimes" not in page.build(results)
