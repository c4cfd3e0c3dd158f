import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from made_up import read, write_report, write_scores

from asm.basics.errors import InputError
from asm.report import charts, drawing, figures

CHARTS = ["fig1_tsne", "figS2_tsne", "fig_accuracy"]
DRAWN = ["fig_recall", "fig_right_noisy", "fig_thresholds", "fig_mining", "fig_confusion"]


def draw(root, out):
    """Draws the figures alone; returns their stems."""
    return list(figures.write(read(root), root / "tsne", out, out)[0])


@pytest.fixture
def unsaved(monkeypatch):
    """Draws without saving, which takes most of the time."""
    for module in (drawing, charts):
        monkeypatch.setattr(module, "save", lambda *paths: None)


@pytest.fixture(scope="module")
def run(tmp_path_factory, full_run):
    """The full grid's report, written once for the tests that only look."""
    root = full_run(tmp_path_factory.mktemp("run"))
    return root, write_report(root)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def test_every_figure_is_written_as_png_and_for_print_as_svg(run):
    _, out = run
    expected = {*CHARTS, *DRAWN, "figS1_hyperparameters"}
    for folder, kind in (("figures", "png"), ("print", "svg")):
        found = {path.stem: path.read_bytes() for path in (out / folder).glob(f"*.{kind}")}
        assert set(found) == expected
        assert all(found.values())


def test_another_process_writes_the_same_bytes(run, tmp_path):
    root, out = run
    code = (
        "import sys; from pathlib import Path; from asm import report; r = Path(sys.argv[1]);"
        "report.write(r / 'report.yaml', r / 'scores', r / 'timing', r / 'tsne', Path(sys.argv[2]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, root, tmp_path], check=True, env=environment)
    assert files(tmp_path) == files(out)
    assert not any(b"matplotlib version" in content.lower() for content in files(out).values())


def test_only_the_figures_that_the_cells_allow(small, write, tmp_path, unsaved):
    root = write(tmp_path, small, skip=("synthetic_n00_baseline_s0", "synthetic_n30_baseline_s0"))
    assert draw(root, tmp_path / "out") == ["fig1_tsne", "fig_accuracy", *DRAWN[:-1]]
    for path in (root / "tsne").iterdir():
        path.unlink()
    assert draw(root, tmp_path / "none") == ["fig_accuracy", *DRAWN[:-1]]


def test_a_second_data_set_has_its_name_in_the_file(small, write, tmp_path, unsaved):
    small["datasets"]["ferplus"] = {"title": "FER+", "paper": "ferplus"}
    small["cells"] += [
        {**c, "dataset": "ferplus", "cell": c["cell"].replace("synthetic", "ferplus")} for c in small["cells"]
    ]
    root = write(tmp_path, small)
    both = [[*stems, *(f"{stem}_ferplus" for stem in stems)] for stems in (CHARTS, DRAWN)]
    assert draw(root, tmp_path / "out") == both[0] + both[1]


def test_confusion_is_summed_over_seeds_and_shown_in_percent_of_the_row(grid, write, tmp_path):
    root = write(tmp_path, grid)
    results = read(root, grid)
    focus = results.focuses[0]
    figure = figures.confusion(results, focus)
    shown = [[float(t.get_text()) for t in axes.texts] for axes in figure.axes[:2]]
    for row, values in zip((focus.baseline, focus.asm), shown, strict=True):
        total = sum(np.array(d.test.confusion) for d in row["scores"])
        assert np.allclose(np.reshape(values, (7, 7)), np.round(100 * total / total.sum(1, keepdims=True)))


def test_thresholds_draw_t_n_as_one_minus_t_c(small, write, tmp_path):
    root = write(tmp_path, small)
    scores = read(root, small).get("synthetic", "n30", "asm", "au")["scores"][0]
    with drawing.style():
        axes = figures.thresholds(scores, 3).axes[0]
    lines = [line for line in axes.get_lines() if len(line.get_ydata()) == 12]
    assert len(lines) == 2 * 7
    for clean, noisy in zip(lines[::2], lines[1::2], strict=True):
        assert np.allclose(1 - clean.get_ydata(), noisy.get_ydata(), equal_nan=True)
    assert lines[0].get_ydata()[-1] == scores.curves.threshold_clean["neutral"][-1]


def test_hyperparameter_panels_follow_the_cells_and_label_the_paper(grid, write, tmp_path):
    root = write(tmp_path, grid)
    with drawing.style():
        figure = figures.hyperparameters(read(root, grid))
    assert [axes.get_xlabel() for axes in figure.axes[3:]] == ["β", "ω", "γ"]
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == ["synthetic, 30 % noise", "paper: RAF-DB, no noise added"]
    ours, paper_line = (figure.axes[i].get_lines()[0] for i in (0, 3))
    assert list(paper_line.get_ydata()) == [89.17, 90.28, 90.58, 90.22, 90.28, 90.31, 90.12]
    # the places of 0, the default 0.65, 2 among the paper's 0, 0.2, 0.65, 0.8, 1, 2, 5
    assert list(ours.get_xdata()) == [1, 3, 6]
    grid["cells"] = [c for c in grid["cells"] if "losses.omega" not in c["changed"]]
    figure = figures.hyperparameters(read(root, grid))
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["β", "γ"]
    grid["cells"] = [c for c in grid["cells"] if not c["changed"]]
    assert figures.hyperparameters(read(root, grid)) is None


def test_recall_is_drawn_by_class_from_the_most_frequent_to_the_rarest(small, write, tmp_path, scores_of):
    root = write(tmp_path, small)
    for cell in small["cells"]:
        scores = scores_of(cell, small)
        scores["test"]["per_class"][0]["support"] = 16
        write_scores(root, scores)
    results = read(root)
    figure = figures.recall(results, results.focuses[0])
    assert [axes.get_title() for axes in figure.axes] == ["synthetic, 0 % noise", "synthetic, 30 % noise"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()][-2:] == ["fear\n100", "neutral\n16"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["Baseline", "ASM"]
    asm = results.get("synthetic", "n30", "asm", "au")["scores"][0]
    heights = [line.get_ydata()[-1] for line in figure.axes[1].get_lines() if len(line.get_ydata()) == 7]
    assert any(height == pytest.approx(100 * asm.test.per_class[0].recall) for height in heights)


def test_right_labels_called_noisy_are_drawn_by_class_where_runs_have_them(small, write, tmp_path):
    root = write(tmp_path, small)
    results = read(root)
    figure = figures.right_noisy(results, results.focuses[0])
    assert [axes.get_title() for axes in figure.axes] == ["ASM, 0 %", "ASM, 30 %"]
    assert [line.get_ydata()[-1] for line in figure.axes[1].get_lines()[:7]] == pytest.approx(range(2, 9))
    for path in (root / "scores").glob("*.json"):  # as an earlier version wrote them
        scores = json.loads(path.read_text())
        if scores["mining"]:
            del scores["mining"]["right_noisy_by_class_epoch"]
        path.write_text(json.dumps(scores))
    results = read(root)
    assert figures.right_noisy(results, results.focuses[0]) is None


def test_mining_without_wrong_labels_has_no_figure(small, write, tmp_path):
    results = read(write(tmp_path, small), small)
    drawn = [("n00", "asm", False), ("n30", "asm", True), ("n30", "baseline", False)]
    for noise, method, expected in drawn:
        scores = results.get("synthetic", noise, method, "au")["scores"][0]
        assert (figures.mining(scores) is not None) == expected


def test_a_run_that_never_mined_still_draws(small, write, tmp_path, scores_of):
    root = write(tmp_path, small)
    shutil.rmtree(root / "tsne")
    cell = small["cells"][-1]
    scores = scores_of(cell, small)
    scores["mining"] = None
    for key in ("subset_clean", "subset_ambiguous", "subset_noisy"):
        scores["curves"][key] = [None] * 12
    scores["curves"]["threshold_clean"] = {"neutral": [None] * 12}
    write_scores(root, scores)
    drawn = draw(root, tmp_path / "out")
    assert "fig_thresholds" in drawn
    assert "fig_mining" not in drawn


@pytest.mark.parametrize("spoil", ["missing", "shape", "text"])
def test_a_malformed_tsne_file_is_named(small, write, tmp_path, spoil):
    root = write(tmp_path, small)
    path = root / "tsne" / "synthetic_n30_asm_s0.npz"
    arrays = dict(np.load(path))
    if spoil == "missing":
        del arrays["train_true"]
    arrays["test_true"] = arrays["test_true"][:-1] if spoil == "shape" else arrays["test_true"]
    np.savez(path, **arrays)
    if spoil == "text":
        path.write_text("no arrays")
    group = read(root, small).get("synthetic", "n30", "asm", "au")
    with pytest.raises(InputError, match=r"synthetic_n30_asm_s0\.npz"):
        charts.read_embedding(group, root / "tsne")


def test_accuracy_has_a_column_a_noise_a_row_a_measure_and_a_colour_a_method(
    many, write, tmp_path, scores_of
):
    root = write(tmp_path, many)
    cell = next(c for c in many["cells"] if c["cell"] == "ferplus_n30_scn_s0")
    longer = scores_of(cell, many)
    longer["curves"] |= {
        "epoch": list(range(1, 31)),
        "accuracy": [0.8] * 30,
        "mean_class_accuracy": [0.7] * 30,
    }
    write_scores(root, longer)
    results = read(root)
    focus = next(focus for focus in results.focuses if focus.dataset == "ferplus")
    spec = charts.accuracy(results, focus).to_dict()
    rows = pd.DataFrame(spec["data"]["values"])
    assert list(rows["noise"].unique()) == [f"ferplus, {rate} % noise" for rate in (0, 10, 30)]
    assert list(rows["measure"].unique()) == ["accuracy, %", "mean class accuracy, %"]
    colours = spec["spec"]["layer"][0]["encoding"]["color"]["scale"]
    assert colours["domain"] == ["Baseline", "SCN", "RUL", "EAC", "ASM"]
    assert len(set(colours["range"])) == 5
    at = rows[(rows["method"] == "SCN") & (rows["noise"] == "ferplus, 30 % noise")].set_index("measure")
    assert at.loc["accuracy, %", "epoch"].max() == 30  # the longest of its runs
    assert at.loc["mean class accuracy, %", "mean"].tolist() == [70] * 30
    both = rows[(rows["method"] == "ASM") & (rows["noise"] == "ferplus, 30 % noise") & (rows["epoch"] == 12)]
    runs = [s.curves.accuracy[-1] for s in results.get("ferplus", "n30", "asm", "au")["scores"]]
    assert both.iloc[0][["low", "high"]].tolist() == pytest.approx(
        [100 * min(runs), 100 * max(runs)], abs=0.01
    )


def test_the_report_does_not_import_torch():
    code = "import sys; from asm import report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
