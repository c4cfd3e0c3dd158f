import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import read, row, with_accuracies, write_report, write_scores

from asm.report import details, page, tables
from asm.report.layout import Beside, Estimate, Table, estimate, frame_of, texts
from asm.report.results import difference

# --- estimates and the frame ------------------------------------------------------------------------------


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_an_interval_is_symmetric_and_holds_the_mean(values):
    found = estimate(values, signed=True)
    assert found.mean == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert found.half >= 0
    turned = estimate([-v for v in values], signed=True)
    assert (turned.side, turned.half) == (-found.side, pytest.approx(found.half, abs=1e-9))


def test_differences_are_signed_and_never_minus_zero():
    assert str(estimate([-0.004, 0.002], signed=True)) == "+0.00 ± 0.04"
    assert estimate([-0.004, 0.002], signed=True).interval == "95 % interval +0.0 to +0.0, 2 seeds"
    assert str(estimate([-1.5], signed=True)) == "-1.50"
    assert estimate([-1.5], signed=True).interval == "one seed, no interval"
    assert estimate([float("nan"), None]) is None


def test_a_lead_is_paired_over_shared_seeds(grid, write, tmp_path):
    wanted = {f"synthetic_n30_asm_s{s}": a for s, a in enumerate((0.80, 0.83, 0.99))}
    wanted |= {f"synthetic_n30_baseline_s{s}": a for s, a in enumerate((0.79, 0.81, 0.10))}
    found = with_accuracies(grid, write, tmp_path, wanted, skip=("synthetic_n30_baseline_s2",))
    asm, base = (found.get("synthetic", "n30", m, "au") for m in ("asm", "baseline"))
    # differences 1 and 2: mean 1.5, half-width t(0.975, 1) * 0.7071 / sqrt(2) = 6.353; the mean is over
    # all three
    assert (asm["accuracy_over_baseline"].mean, asm["accuracy_over_baseline"].n) == (pytest.approx(1.5), 2)
    assert asm["accuracy_over_baseline"].half == pytest.approx(6.353, abs=1e-3)
    assert asm["accuracy_over_baseline"] == difference(found, asm, base)
    assert asm["accuracy"].mean == pytest.approx(100 * (0.80 + 0.83 + 0.99) / 3)
    assert base["accuracy_over_baseline"] is None


def test_cells_of_one_setting_group_whatever_the_order_of_a_list(grid, write, tmp_path):
    grid["cells"][-1] |= {"changed": {"losses.replace_with_ce": ["consistency", "mutual"]}, "seed": 7}
    found = read(write(tmp_path, grid), grid)
    mixed = found.cells[
        found.cells["rule"].str.contains("consistency") & found.cells["rule"].str.contains("mutual")
    ]
    assert (set(mixed["seed"]), mixed["rule"].nunique()) == ({0, 7}, 1)


def test_the_focus_is_the_highest_symmetric_rate_with_both_methods(small, write, tmp_path):
    small["noises"] |= {"n40": {"kind": "symmetric", "rate": 0.4}, "real": {"kind": "original", "rate": None}}
    for noise, method in (("n40", "asm"), ("real", "asm"), ("real", "baseline")):
        cell = {"cell": f"{noise}_{method}", "dataset": "synthetic", "noise": noise, "method": method}
        small["cells"].append(cell | {"seed": 0, "init": "au", "schedule": "fair", "changed": {}})
    root = write(tmp_path, small)
    assert [(f.dataset, f.noise) for f in read(root).focuses] == [("synthetic", "n30")]  # n40 has no baseline
    (root / "scores" / "synthetic_n30_baseline_s0.json").unlink()
    assert read(root).focuses[0].noise == "real"  # before none at all
    (root / "scores" / "real_baseline.json").unlink()
    assert read(root).focuses[0].noise == "n00"


# --- the paper's tables -----------------------------------------------------------------------------------


def test_table1_has_a_row_a_method_a_column_a_noise_and_the_papers_beside(many, write, tmp_path):
    wanted = {f"ferplus_n30_asm_s{s}": a for s, a in enumerate((0.80, 0.82))}
    table = tables.table1(with_accuracies(many, write, tmp_path, wanted))
    assert list(table.frame) == ["Data set", "Method", "0 %", "10 %", "30 %"]
    asm = row(table, Method="ASM", **{"Data set": "ferplus"})["30 %"]
    assert (asm.ours.mean, asm.paper) == (pytest.approx(81), 86.69)
    assert re.fullmatch(r"(\*\*)?81\.0(\*\*)? \(86\.7\)", str(asm))
    assert row(table, Method="MAN", **{"Data set": "ferplus"})["30 %"].paper is None  # the paper has none
    assert row(table, Method="ASM", **{"Data set": "synthetic"})["30 %"].paper is None  # not the paper's data
    assert list(table.frame["Method"][:5]) == ["Baseline", "SCN", "RUL", "EAC", "ASM"]
    assert len(set(table.anchors)) == len(table.frame)
    numbers = table.numbers().set_index(["Data set", "Method"]).loc[("ferplus", "ASM")]
    assert [numbers[f"30 %{c}"] for c in ("", ", seeds", ", paper")] == [81.0, 2, 86.69]


def test_the_highest_of_each_column_is_bold(many, write, tmp_path):
    wanted = {c["cell"]: 0.5 for c in many["cells"] if c["method"] != "scn"}
    wanted |= {c["cell"]: 0.9 for c in many["cells"] if c["method"] == "scn"}
    frame = tables.table1(with_accuracies(many, write, tmp_path, wanted)).frame
    best = frame[["0 %", "10 %", "30 %"]].map(lambda entry: entry.best)
    assert set(frame.loc[best.all(axis=1), "Method"]) == {"SCN"}
    assert not best[frame["Method"] != "SCN"].any(axis=None)


def test_the_mean_class_accuracy_has_a_table_of_the_same_form_without_the_papers(many, write, tmp_path):
    found = with_accuracies(many, write, tmp_path, {f"ferplus_n30_asm_s{s}": 0.8 for s in range(2)})
    first, second = tables.table1(found), tables.table1_classes(found)
    assert list(first.frame) == list(second.frame)
    assert list(first.frame["Method"]) == list(second.frame["Method"])
    entry = row(second, Method="ASM", **{"Data set": "ferplus"})["30 %"]
    assert (entry.ours.mean, entry.paper) == (pytest.approx(75), None)  # the fixture's is 5 points below


def test_rendered_faces_stand_beside_the_papers_raf_db(loaded):
    table = tables.table1(loaded)
    assert row(table, Method="ASM")["30 %"].paper == 85.66
    assert table.note.endswith("the paper's numbers on RAF-DB.")


def test_the_papers_numbers_stand_beside_symmetric_noise_alone(many, write, tmp_path):
    many["noises"]["asym30"] = {"kind": "asymmetric", "rate": 0.3}
    many["cells"] += [
        c | {"cell": f"asym_{c['cell']}", "noise": "asym30"} for c in many["cells"] if c["noise"] == "n30"
    ]
    found = read(write(tmp_path, many))
    asm = row(tables.table1(found), Method="ASM", **{"Data set": "ferplus"})
    assert (asm["30 %"].paper, asm["asymmetric 30 %"].paper) == (86.69, None)
    assert asm["asymmetric 30 %"].ours is not None
    leads = tables.table_leads(found)
    where = {"Method": "ASM", "Data set": "ferplus"}
    assert row(leads, Noise="30 %", **where)["the paper's: accuracy"] == "+6.9"
    assert row(leads, Noise="asymmetric 30 %", **where)["the paper's: accuracy"] is None


def test_real_labels_are_a_column_and_have_a_lead(small, write, tmp_path):
    small["noises"]["real"] = {"kind": "original", "rate": None}
    real = [
        c | {"cell": f"real_{c['method']}", "noise": "real"} for c in small["cells"] if c["noise"] == "n30"
    ]
    small["cells"] += real
    found = with_accuracies(small, write, tmp_path, {"real_baseline": 0.6, "real_asm": 0.7})
    assert "real labels" in tables.table1(found).frame
    line = row(tables.table_leads(found), Noise="real labels", Method="ASM")
    assert line["− baseline: accuracy"].mean == pytest.approx(10)
    assert line["right labels called noisy, %"] == "4.0"
    assert "control" not in " ".join(line)  # none was run


def test_leads_are_in_both_measures_over_the_baseline_and_the_control(small, write, tmp_path):
    small["cells"] += [
        c | {"cell": c["cell"].replace("asm", method), "method": method}
        for c in small["cells"] for method in ("two_networks", "fair_asm") if c["method"] == "asm"
    ]  # fmt: skip
    wanted = {"asm": 0.86, "baseline": 0.8, "two_networks": 0.81, "fair_asm": 0.9}
    found = with_accuracies(small, write, tmp_path, {f"synthetic_n30_{m}_s0": v for m, v in wanted.items()})
    leads = tables.table_leads(found)
    line = row(leads, Noise="30 %", Method="ASM")
    for words in ("accuracy", "mean class accuracy"):
        assert line[f"− baseline: {words}"].mean == pytest.approx(6)
        assert line[f"− control: {words}"].mean == pytest.approx(5)
    assert line["wrong labels repeated, %"] == "5"
    assert row(leads, Noise="30 %", Method="Fair ASM (ours)")["− baseline: accuracy"].mean == pytest.approx(
        10
    )
    base = row(leads, Noise="30 %", Method="Baseline")
    assert (base["− baseline: accuracy"], base["− control: accuracy"]) == (None, None)
    assert base["wrong labels repeated, %"] == "50"


def test_rare_classes_are_counted_where_the_sizes_differ(small, write, tmp_path, scores_of):
    root = write(tmp_path, small)
    assert not len(tables.table_rare(read(root)).frame)  # 100 images of each class
    for cell in small["cells"]:
        scores = scores_of(cell, small)
        for k, size in ((5, 16), (6, 30)):  # disgust, fear
            scores["test"]["per_class"][k]["support"] = size
        scores["test"]["confusion"][5][5] = 7
        write_scores(root, scores)
    table = tables.table_rare(read(root))
    assert list(table.frame)[2:] == ["anger", "fear", "disgust", "seeds"]  # the rarest last
    assert row(table, Noise="30 %", Method="ASM")["disgust"] == "7.0 of 16"


def test_table2_matches_rows_by_what_they_change(grid, write, tmp_path):
    rows = {
        "AT": 0,
        "AT + L_mut": 1,
        "AT + L_usc": 2,
        "ASM, Eq. 3 as printed": 3,
        "ASM, noisy samples dropped": 4,
    }
    wanted = {f"synthetic_n30_asm-{i}_s0": 0.7 + i / 100 for i in range(5)}
    table = tables.table2(with_accuracies(grid, write, tmp_path, wanted))
    for name, i in rows.items():
        assert row(table, Setting=name)["synthetic, 30 % noise"].mean == pytest.approx(70 + i)
    full = row(table, Setting="AT + L_mut + L_usc (ASM)")
    assert (full["synthetic, 30 % noise"].n, full["paper: RAF-DB, no noise"]) == (3, 90.58)
    assert len(table.frame) == 7


def test_tables_without_their_cells_are_the_papers_alone(small, write, tmp_path):
    found = read(write(tmp_path, small), small)
    for table in (tables.table2(found), tables.table_s1(found)):
        assert not table.frame.map(lambda v: isinstance(v, Estimate)).any(axis=None)


def test_table3_has_methods_that_only_we_or_the_paper_have(many, write, tmp_path):
    table = tables.table3(
        with_accuracies(many, write, tmp_path, {"ferplus_n00_man_s0": 0.86, "ferplus_n00_man_s1": 0.87})
    )
    methods = ["Baseline", "IPA2LT†", "RAN", "SCN", "DACL", "RUL", "EAC", "ASM", "DMUE", "MAN", "JoCoR"]
    assert list(table.frame["Method"]) == methods
    ran, man = (row(table, Method=m) for m in ("RAN", "MAN"))
    assert (ran["ours: ferplus"], ran["paper: FERPlus"]) == (None, 88.55)
    assert (man["ours: ferplus"].ours.mean, man["paper: FERPlus"]) == (pytest.approx(86.5), None)


def test_supplement_thresholds_use_the_defaults_of_the_grid(grid, write, tmp_path):
    start, ours = "[T_n, T_c] at the start", "ours: synthetic, 30 % noise"
    table = tables.table_s1(read(write(tmp_path, grid), grid))
    found = {(r[start], r["Thresholds"]): r[ours] for r in table.frame.to_dict("records")}
    assert [found["[0.2, 0.8]", kind].n for kind in ("adaptive", "fixed")] == [3, 1]
    assert (found["[0.1, 0.9]", "adaptive"].n, found["[0.1, 0.9]", "fixed"]) == (1, None)
    grid["defaults"] = {"thresholds.init_clean": 0.6, "thresholds.init_noisy": 0.4}
    line = row(tables.table_s1(read(tmp_path, grid)), **{start: "[0.4, 0.6]", "Thresholds": "adaptive"})
    assert (line[ours].n, line["paper: RAF-DB"]) == (3, None)


def test_eq_3_as_printed_has_rows_among_the_methods_where_it_is_run_throughout(small, write, tmp_path):
    for noise in ("n00", "n30"):
        cell = {
            "cell": f"{noise}_max",
            "noise": noise,
            "method": "asm",
            "changed": {"thresholds.confidence": "max"},
        }
        small["cells"].append(small["cells"][-1] | cell)
    table = tables.table1(with_accuracies(small, write, tmp_path, {"n30_max": 0.77}))
    printed = row(table, Method="ASM, Eq. 3 as printed")["30 %"]
    assert (printed.ours.mean, printed.paper) == (pytest.approx(77), None)
    small["cells"] = [c for c in small["cells"] if c["cell"] != "n00_max"]
    found = read(tmp_path, small)
    assert not tables.table1(found).frame["Method"].str.contains("printed").any()
    assert tables.table2(found).frame["Setting"].str.contains("printed").any()


# --- the files --------------------------------------------------------------------------------------------


def test_a_missing_cell_leaves_the_other_seeds_or_a_blank(grid, write, tmp_path):
    found = with_accuracies(grid, write, tmp_path, {}, skip=("synthetic_n30_asm_s1", "synthetic_n30_scn_s0"))
    table = tables.table1(found)
    assert row(table, Method="ASM")["30 %"].ours.n == 2
    assert "SCN" not in set(table.frame["Method"])
    assert details.per_cell(found).set_index("cell").loc["synthetic_n30_scn_s0", "accuracy":].isna().all()


def test_files_hold_every_cell_and_class(grid, write, tmp_path, no_figures):
    root = write(tmp_path, grid)
    out = write_report(root)
    cells = pd.read_csv(out / "tables" / "cells.csv")
    assert list(cells["cell"]) == [c["cell"] for c in grid["cells"]]
    scores = json.loads((root / "scores" / "synthetic_n30_asm_s0.json").read_text())
    line = cells.set_index("cell").loc["synthetic_n30_asm_s0"]
    assert line["accuracy"] == pytest.approx(100 * scores["test"]["accuracy"]["last5"], abs=1e-3)
    assert len(pd.read_csv(out / "tables" / "per_class.csv")) == 7 * 16  # classes x settings
    plotted = pd.read_csv(out / "plots" / "synthetic_n30.csv").set_index("cell")
    assert set(plotted.index) == {c["cell"] for c in grid["cells"] if c["noise"] == "n30"}
    shown = plotted.loc["synthetic_n30_asm_s0", "accuracy"]
    assert list(shown) == pytest.approx([100 * v for v in scores["curves"]["accuracy"]], abs=1e-3)
    stray = scores | {"cell": "synthetic_n30_asm_s9", "seed": 9}
    write_scores(root, stray)  # a file that the grid does not name
    again = write_report(root, tmp_path / "again")
    metrics = json.loads((out / "metrics.json").read_text())
    measured = {"accuracy": scores["test"]["accuracy"]["last5"]}
    measured |= {"mean_class_accuracy": scores["test"]["mean_class_accuracy"]["last5"]}
    assert metrics["synthetic_n30_asm_s0"] == measured
    assert list(metrics) == sorted(metrics)
    for name in ("cells.csv", "table1.csv"):
        assert (out / "tables" / name).read_bytes() == (again / "tables" / name).read_bytes()


def test_latex_is_escaped():
    frame = frame_of(
        [{"a_1 & 5 %": Estimate(1.0, 0.5, 2), "b": Beside(Estimate(2, None, 1), 3.0, best=True)}]
    )
    latex = Table("table1", frame).latex()
    for part in (r"a\_1 \& 5 \%", r"1.00 ± 0.50 & \textbf{2.0} (3.0)"):
        assert part in latex
    assert [latex.count(r) for r in ("\\toprule", "\\midrule", "\\bottomrule", "\\hline")] == [1, 1, 1, 0]


@pytest.mark.skipif(shutil.which("xelatex") is None, reason="xelatex is not installed")
def test_latex_compiles(grid, write, tmp_path, no_figures):
    out = write_report(write(tmp_path, grid)) / "print"
    inputs = "".join(f"\\input{{{p.name}}}" for p in sorted(out.glob("*.tex")))
    packages = r"\documentclass{article}\usepackage{booktabs,graphicx,fontspec}\begin{document}"
    (out / "all.tex").write_text(packages + inputs + r"\end{document}")
    command = ["xelatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    run = subprocess.run(command, cwd=out, capture_output=True, text=True)
    assert run.returncode == 0, re.findall(r"^!.*", run.stdout, re.M)


def test_every_table_and_figure_has_its_words(loaded):
    built = page.build(loaded)
    assert all(table.title and table.note for table in built.values())
    known = {make.__name__ for make in (*page.PAGE, *page.DETAILS)}
    assert set(texts()["tables"]) == known  # no words of a table that is gone
