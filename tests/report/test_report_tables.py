import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
from made_up import read, write_scores

from asm.report import comparison, tables
from asm.report.cells import Estimate
from asm.report.layout import Table, frame_of, tex

OURS, BEST = "ours: synthetic", "ours: synthetic, best epoch (selected on test)"


@pytest.fixture
def loaded(grid, write, tmp_path):
    root = write(tmp_path, grid)
    return read(root, grid)


def row(table: Table, **where) -> dict:
    frame = table.frame
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0].to_dict()


def with_accuracies(grid, write, tmp_path, wanted):
    return read(write(tmp_path, grid, accuracies=wanted), grid)


def test_table1_mean_interval_best_and_paper_columns(grid, write, tmp_path):
    wanted = {f"synthetic_n30_asm_s{s}": a for s, a in enumerate((0.80, 0.82, 0.84))}
    table = tables.table1(with_accuracies(grid, write, tmp_path, wanted))
    asm = row(table, Noise="30 %", Method="ASM")
    assert asm[OURS].mean == pytest.approx(82.0)
    assert asm[OURS].half == pytest.approx(4.968275, abs=1e-6)
    assert asm[BEST].mean == pytest.approx(83.2)
    assert asm["paper: RAF-DB"] == 85.66
    assert asm["paper: AffectNet (8 classes)"] == 59.75
    ours = [c for c in table.frame if not c.startswith("paper: ")]
    assert ours == ["Noise", "Method", OURS, BEST]


def test_table1_rows_follow_the_paper_and_blanks_stay_blank(loaded):
    table = tables.table1(loaded)
    at_30 = table.frame[table.frame["Noise"] == "30 %"]
    assert list(at_30["Method"]) == ["Baseline", "SCN", "RUL", "EAC", "ASM"]
    assert row(table, Noise="30 %", Method="SCN")[OURS].half is None  # one seed
    assert row(table, Noise="30 %", Method="EAC")[OURS] is None
    assert row(table, Noise="10 %", Method="ASM")[OURS] is None  # a rate that was not run
    clean = table.frame[table.frame["Noise"] == "0 %"]
    assert list(clean["Method"]) == ["Baseline", "ASM"]
    assert clean[[c for c in clean if c.startswith("paper")]].isna().all(axis=None)
    assert list(dict.fromkeys(table.frame["Noise"])) == ["0 %", "10 %", "20 %", "30 %"]


def test_a_missing_cell_leaves_the_other_seeds_or_a_blank(grid, write, tmp_path):
    root = write(tmp_path, grid, skip=("synthetic_n30_asm_s1", "synthetic_n30_scn_s0"))
    table = tables.table1(read(root, grid))
    assert row(table, Noise="30 %", Method="ASM")[OURS].n == 2
    assert row(table, Noise="30 %", Method="SCN")[OURS] is None


def test_a_file_that_the_grid_does_not_name_never_appears(small, write, tmp_path):
    root = write(tmp_path, small)
    tables.write(read(root), tmp_path / "before")
    stray = json.loads((root / "scores" / "synthetic_n30_asm_s0.json").read_text())
    write_scores(root, stray | {"cell": "synthetic_n30_asm_s9", "seed": 9})
    tables.write(read(root), tmp_path / "after")
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "after" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("asm", "base", "expected"),
    [
        (0.84, 0.86, "2.0 points below the baseline (synthetic: 84.0 against 86.0 %"),
        (0.875, 0.86, "1.5 points above the baseline (synthetic: 87.5 against 86.0 %"),
        (0.8601, 0.86, "level with the baseline (synthetic: 86.0 against 86.0 %"),
    ],
)
def test_the_gap_without_noise_is_said_both_ways(small, write, tmp_path, asm, base, expected):
    wanted = {"synthetic_n00_asm_s0": asm, "synthetic_n00_baseline_s0": base}
    loaded = with_accuracies(small, write, tmp_path, wanted)
    without, noisy = comparison.gaps(loaded)
    assert without.startswith(f"Without label noise ASM is {expected}")
    assert noisy.startswith("At 30 % noise ASM is")
    alone = f"One of its two networks alone: {100 * asm - 1.1:.1f} %"  # the fixture's nets: 1.1 points lower
    assert alone in without
    assert "It calls 4.0 % of the right labels noisy." in without


def test_the_control_tells_what_two_networks_gain(small, write, tmp_path):
    small["methods"]["two_networks"] = {"title": "Two networks", "told_noise_rate": False}
    small["cells"] += [
        {**cell, "cell": cell["cell"].replace("asm", "two_networks"), "method": "two_networks"}
        for cell in small["cells"]
        if cell["method"] == "asm"
    ]
    wanted = {"asm": 0.86, "baseline": 0.8, "two_networks": 0.81}
    accuracies = {f"synthetic_n30_{method}_s0": value for method, value in wanted.items()}
    loaded = with_accuracies(small, write, tmp_path, accuracies)
    noisy = next(line for line in comparison.gaps(loaded) if line.startswith("At 30 %"))
    assert "6.0 points above the baseline" in noisy
    assert (
        "and 5.0 points above the control, two networks (no interval; that is itself 1.0 points above"
        in noisy
    )
    assert not any("Two networks" in line for line in comparison.ranks(loaded))  # no method of its own


def test_the_gap_is_paired_over_shared_seeds(grid, write, tmp_path):
    asm, base = (0.80, 0.83, 0.99), (0.79, 0.81, 0.10)
    wanted = {f"synthetic_n30_asm_s{s}": a for s, a in enumerate(asm)}
    wanted |= {f"synthetic_n30_baseline_s{s}": a for s, a in enumerate(base)}
    root = write(tmp_path, grid, accuracies=wanted, skip=("synthetic_n30_baseline_s2",))
    note = next(n for n in comparison.gaps(read(root, grid)) if n.startswith("At 30 %"))
    # differences 1 and 2: mean 1.5, half-width t(0.975, 1) * 0.7071 / sqrt(2) = 6.353
    assert "81.5 against 80.0 %; paired over 2 seeds, 95 % interval -4.9 to +7.9 points" in note


def test_networks_are_told_apart_from_the_pair(loaded):
    table = tables.table1_networks(loaded)
    assert set(table.frame["Method"]) == {"ASM"}  # one-network methods have no such row
    for line in table.frame.to_dict("records"):
        assert line["pair"].mean - line["net 1"].mean == pytest.approx(1.1)
        assert line["pair − mean of nets (points)"] == pytest.approx(1.1)


def test_table2_matches_rows_by_what_they_change(grid, write, tmp_path):
    names = {"AT": 0, "AT + L_mut": 1, "AT + L_usc": 2}
    wanted = {f"synthetic_n30_asm-{i}_s0": 0.7 + i / 100 for i in range(5)}
    table = tables.table2(with_accuracies(grid, write, tmp_path, wanted))
    assert len(table.frame) == 7
    for name, i in names.items():
        assert row(table, Setting=name)["ours"].mean == pytest.approx(70 + i)
    assert row(table, Setting="ASM, confidence of Eq. 3 as printed (max)")["ours"].mean == pytest.approx(73)
    dropped = row(table, Setting="ASM, noisy samples dropped")
    assert dropped["ours"].mean == pytest.approx(74)
    assert (dropped["L_mut"], dropped["L_usc"]) == ("✓", "×")
    full = row(table, Setting="AT + L_mut + L_usc (ASM)")
    assert full["ours"].n == 3
    assert full["paper: RAF-DB, no noise added"] == 90.58
    marks = table.frame[["AT", "L_mut", "L_usc"]].head(5).to_numpy().tolist()
    assert marks == [list("×××"), list("✓××"), list("✓✓×"), list("✓×✓"), list("✓✓✓")]
    assert row(table, Setting="baseline")["net 1"] is None


def test_table2_lists_any_other_combination(grid, write, tmp_path):
    grid["cells"][-1]["changed"] = {"losses.beta": 0.2, "losses.drop_noisy": True}
    table = tables.table2(read(write(tmp_path, grid), grid))
    assert row(table, Setting="ASM, β 0.2 + noisy samples dropped")["ours"] is not None


def test_tables_without_their_cells_are_blank_and_say_so(small, write, tmp_path):
    loaded = read(write(tmp_path, small), small)
    for table in (tables.table2(loaded), tables.table_s1(loaded)):
        assert "not part of this profile" in table.notes[0]
        assert all(c not in table.frame or table.frame[c].isna().all() for c in ("ours", "net 1", OURS))


def test_supplement_thresholds_use_the_defaults_of_the_grid(grid, write, tmp_path):
    table = tables.table_s1(read(write(tmp_path, grid), grid))
    start, ours = "[T_n, T_c] at the start", "ours: synthetic, 30 %"
    found = {(r[start], r["Thresholds"]): r[ours] for r in table.frame.to_dict("records")}
    assert found["[0.2, 0.8]", "adaptive"].n == 3
    assert found["[0.2, 0.8]", "fixed"].n == 1
    assert found["[0.1, 0.9]", "adaptive"].n == 1
    assert found["[0.1, 0.9]", "fixed"] is None
    assert table.frame["paper: FERPlus"].notna().all()
    grid["defaults"] = {"thresholds.init_clean": 0.6, "thresholds.init_noisy": 0.4}
    table = tables.table_s1(read(tmp_path, grid))
    assert row(table, **{start: "[0.4, 0.6]", "Thresholds": "adaptive"})[ours].n == 3
    assert row(table, **{start: "[0.4, 0.6]", "Thresholds": "adaptive"})["paper: RAF-DB"] is None


def test_mining_takes_the_last_epoch_and_blanks_what_does_not_exist(small, write, tmp_path, scores_of):
    root = write(tmp_path, small)
    cell = next(c for c in small["cells"] if c["cell"] == "synthetic_n30_asm_s0")
    scores = scores_of(cell, small)
    scores["mining"]["noisy_recall"][-1] = 0.625
    scores["mining"]["wrong_share"]["ambiguous"][-1] = None
    write_scores(root, scores)
    table = tables.table_mining(read(root, small))
    noisy = row(table, Noise="30 %")
    assert noisy["noisy: recall %"] == pytest.approx(62.5)
    assert noisy["ambiguous: wrong labels %"] is None
    assert noisy["AUROC of wrong labels"] == pytest.approx(0.97)
    assert row(table, Noise="0 %")["noisy: precision %"] is None
    assert "vote entropy: Spearman ρ" not in table.frame  # no cell has it, and a note says so
    assert any("vote entropy: Spearman ρ" in n for n in table.notes if n.startswith("Left out"))


def test_several_data_sets_and_weights_have_their_own_columns_and_rows(small, write, tmp_path):
    small["datasets"]["ferplus"] = {"source": "ferplus", "classes": 7}
    small["noises"]["real"] = {"kind": "original", "rate": None}
    small["inits"]["scratch"] = {"weights": "none"}
    for i, (dataset, noise, init) in enumerate([("ferplus", "real", "au"), ("synthetic", "n30", "scratch")]):
        new = {"cell": f"more{i}", "dataset": dataset, "noise": noise, "init": init}
        small["cells"].append(small["cells"][-1] | {"method": "asm", "seed": 0} | new)
    table = tables.table1(read(write(tmp_path, small), small))
    assert row(table, Noise="30 %", Method="ASM", Weights="scratch")[OURS].n == 1
    assert row(table, Noise="30 %", Method="ASM", Weights="au")[OURS].n == 1


def test_written_files_carry_caption_labels_and_numbers(grid, write, tmp_path):
    root = write(tmp_path, grid)
    tables.write(read(root), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    stems = ("table1", "table1_networks", "table2", "table3", "table_related", "table_s1")
    stems += ("table_fit", "table_mining")
    others = {"cells.csv", "per_class.csv", "cost.csv"}
    assert names == {f"{s}.{e}" for s in stems for e in ("md", "csv", "tex")} | others
    said = ["Profile made_up", "width 16", "12 epochs", "mean of the last 5 epochs", "torch 2.11.0"]
    said += ["NOT the analogue", "rendered: compare", "seeds: 0, 1, 2", "au = synthetic"]
    for stem in stems:
        for kind in ("md", "tex"):
            content = (tmp_path / "out" / f"{stem}.{kind}").read_text(encoding="utf-8")
            assert kind == "md" or content.isascii()
            assert [part for part in said if part not in content.replace("\\", "")] == []
    csv = pd.read_csv(tmp_path / "out" / "table1.csv")
    asm = csv[(csv["Noise"] == "30 %") & (csv["Method"] == "ASM")].iloc[0]
    assert asm["ours: synthetic, seeds"] == 3
    assert asm["ours: synthetic, half-width of 95 % CI"] > 0
    classes = pd.read_csv(tmp_path / "out" / "per_class.csv")
    assert len(classes) == 7 * 16  # classes x settings
    assert len(pd.read_csv(tmp_path / "out" / "cells.csv")) == len(grid["cells"])


def test_the_note_on_weights_and_rendering_follows_the_grid(small, write, tmp_path):
    small["inits"]["au"]["weights"] = "msceleb"
    small["datasets"]["synthetic"]["source"] = "rafdb"
    root = write(tmp_path, small)
    tables.write(read(root), tmp_path / "out")
    content = (tmp_path / "out" / "table1.md").read_text(encoding="utf-8")
    assert "NOT the analogue" not in content
    assert "rendered" not in content


def test_latex_escapes_and_keeps_symbols():
    assert tex("a_b & 5 % ± L_mut #1") == r"a\_b \& 5 \% $\pm$ $L_{mut}$ \#1"
    table = Table("t", "T.", frame_of([{"a_1": Estimate(1.0, 0.5, 2), "b": None}]), [])
    latex = table.latex([])
    assert r"a\_1" in latex
    assert r"1.00 $\pm$ 0.50 (2 seeds)" in latex
    assert [latex.count(r) for r in ("\\toprule", "\\midrule", "\\bottomrule", "\\hline")] == [1, 1, 1, 0]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(grid, write, tmp_path):
    root = write(tmp_path, grid)
    tables.write(read(root), tmp_path / "out")
    inputs = "".join(f"\\input{{{p.name}}}" for p in sorted((tmp_path / "out").glob("*.tex")))
    packages = r"\documentclass{article}\usepackage{booktabs,graphicx,amssymb}\begin{document}"
    (tmp_path / "out" / "all.tex").write_text(packages + inputs + r"\end{document}")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    run = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True)
    assert run.returncode == 0, re.findall(r"^!.*", run.stdout, re.M)


def test_fit_and_mining_by_hand(small, write, tmp_path, scores_of):
    root = write(tmp_path, small)
    cell = next(c for c in small["cells"] if c["cell"] == "synthetic_n30_asm_s0")
    scores = scores_of(cell, small)
    scores["fit"] = {"right": 0.9, "wrong": 0.4}
    scores["mining"]["right_noisy"][-1] = 0.123
    scores["mining"]["right_noisy_by_class"] |= {"anger": 0.3, "fear": None}
    scores["mining"]["clean_threshold_start"] = 0.71
    write_scores(root, scores)
    loaded = read(root, small)
    asm = row(tables.table_fit(loaded), Noise="30 %", Method="ASM")
    assert list(asm.values())[3:] == [90.0, 40.0, 0.71, 12.3, "anger (30.0 %)", 1]
    assert row(tables.table_fit(loaded), Noise="30 %", Method="Baseline")["most of"] is None
    assert any(
        line.endswith("It calls 12.3 % of the right labels noisy.") for line in comparison.gaps(loaded)
    )
    cells = tables.per_cell(loaded).set_index("cell").loc["synthetic_n30_asm_s0"]
    assert (cells["fit_right"], cells["fit_wrong"]) == (0.9, 0.4)
