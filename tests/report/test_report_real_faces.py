"""Real label noise, levels beside the paper's, and the label-quality tables, on a FER+-like grid."""

import json

import pytest
from made_up import read, write_report

from asm.report import comparison, label_quality, tables
from asm.report.estimates import Estimate
from asm.report.real_noise import table_real

MAX = {"thresholds.confidence": "max"}
SCORES = ("asm_subset", "asm_depth", *label_quality.RIVALS)


@pytest.fixture
def ferplus(small) -> dict:
    """Baseline and ASM on `faces` at 0, 10 and 30 % and on `seven` with real labels; ASM also by Eq. 3 as
    printed; the baseline also from scratch."""
    small["datasets"] = {name: {"source": "ferplus", "classes": 7} for name in ("faces", "seven")}
    small["noises"] = {f"n{r}0": {"kind": "symmetric", "rate": r / 10} for r in (0, 1, 3)}
    small["noises"]["real"] = {"kind": "original", "rate": None}
    small["inits"]["scratch"] = {"weights": "none"}
    small["cells"] = []

    def add(dataset: str, noise: str, method: str, tag: str = "", **more) -> None:
        cell = {"cell": f"{dataset}_{noise}_{method}{tag}_s0", "dataset": dataset, "noise": noise}
        rest = {"method": method, "seed": 0, "init": "au", "schedule": "fair", "changed": {}}
        small["cells"].append(cell | rest | more)

    for dataset, noise in (
        ("faces", "n00"),
        ("faces", "n10"),
        ("faces", "n30"),
        ("seven", "real"),
        ("seven", "n00"),
    ):
        for method in ("baseline", "asm"):
            add(dataset, noise, method)
        add(dataset, noise, "asm", "_max", changed=MAX)
    add("faces", "n30", "baseline", "_scratch", init="scratch")
    return small


ACCURACIES = {
    **{"faces_n00_baseline_s0": 0.86, "faces_n10_baseline_s0": 0.80, "faces_n30_baseline_s0": 0.75},
    **{"faces_n30_asm_s0": 0.78, "faces_n30_asm_max_s0": 0.77, "faces_n30_baseline_scratch_s0": 0.70},
    **{"seven_real_baseline_s0": 0.66, "seven_n00_baseline_s0": 0.76},
}


def quality(ours: float, rival: float, votes: bool = True) -> dict:
    """ASM's depth at AUROC `ours`, the loss at `rival`, every other score at .5; intervals of ± .01."""

    def of(name: str) -> dict:
        value = {"asm_depth": ours, "loss": rival}.get(name, 0.5)
        measured = [value, value - 0.01, value + 0.01]
        hits = {"samples": 300, "precision": 0.6, "recall": 0.9 if name == "loss" else 0.5}
        return {"auroc": measured, "spearman": measured, "at_asm_size": hits}

    held = {"vote_entropy": [0.0, 1.0], "counts": [10, 30]}
    subsets = {
        name: {"samples": 40, "ambiguous": share} | held
        for name, share in (("clean", 0.05), ("ambiguous", 0.2), ("noisy", None))
    }
    subset = {"samples": 300, "precision": 0.7, "recall": 0.8}
    ambiguous = {"truth": "votes", "share": 0.12, "scores": {n: of(n) for n in SCORES}, "subset": subset}
    wrong = {"samples": 1000, "share": 0.3, "scores": {n: of(n) for n in SCORES}, "subset": subset}
    return {"ambiguous": ambiguous | {"by_subset": subsets}, "wrong": wrong | {"cleanlab": subset}}


@pytest.fixture
def run(ferplus, write, tmp_path):
    root = write(tmp_path, ferplus, accuracies=ACCURACIES)
    for cell, found in (("faces_n30_asm_s0", quality(0.8, 0.9)), ("seven_real_asm_s0", quality(0.9, 0.8))):
        path = root / "scores" / f"{cell}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"label_quality": found}))
    return root


@pytest.fixture
def loaded(run):
    return read(run)


def test_real_labels_have_a_table_of_their_own(loaded):
    table = table_real(loaded)
    frame = table.frame.set_index("Method")
    assert list(frame.index) == ["Baseline", "ASM", "ASM, Eq. 3 as printed"]
    assert frame.loc["Baseline", "on real labels"].mean == pytest.approx(66)
    assert frame.loc["Baseline", "real − votes' (points)"].mean == pytest.approx(-10)
    assert "1,400 training images have one, 450 of these (36.9 %) another" in table.notes[0]
    assert table.notes[0].endswith("12 images without one are left out.")
    first = tables.table1(loaded)
    assert "real labels" not in set(first.frame["Noise"])
    assert not any("seven" in column for column in first.frame)


def test_without_real_labels_the_table_is_empty(small, write, tmp_path):
    table = table_real(read(write(tmp_path, small), small))
    assert table.frame.empty
    assert table.notes == []


def test_table1_of_ferplus_shows_its_column_and_both_readings_of_eq_3(loaded):
    frame = tables.table1(loaded).frame
    assert [c for c in frame if c.startswith("paper: ")] == ["paper: FERPlus"]
    at_30 = frame[(frame["Noise"] == "30 %") & frame["Method"].str.startswith("ASM")].set_index("Method")
    assert at_30.loc["ASM", "paper: FERPlus"] == 86.69
    assert at_30.loc["ASM, Eq. 3 as printed", "ours: faces"] == Estimate(pytest.approx(77.0), None, 1)
    assert at_30.loc["ASM, Eq. 3 as printed", "paper: FERPlus"] is None
    assert tables.table2(loaded).notes[0] == "Ablation cells are not part of this profile."


def test_one_printed_row_alone_stays_in_table2(ferplus, write, tmp_path):
    ferplus["cells"] = [
        c for c in ferplus["cells"] if not c["changed"] or c["cell"] == "faces_n30_asm_max_s0"
    ]
    loaded = read(write(tmp_path, ferplus), ferplus)
    assert not tables.table1(loaded).frame["Method"].str.contains("printed").any()
    assert tables.table2(loaded).frame["Setting"].str.contains("printed").any()


def test_levels_beside_the_papers(loaded):
    baseline = next(line for line in comparison.levels(loaded) if line.startswith("Baseline (faces, au)"))
    assert "at 10 and 30 % noise: ours 80.0 and 75.0 %, the paper's 83.3 and 79.8 %" in baseline
    assert "ours loses 5.0 points, the paper's 3.5" in baseline


def test_leads_beside_the_papers(loaded):
    (lead,) = [
        line
        for line in comparison.leads(loaded)
        if "(faces, au) at 30 % noise" in line or "10 and 30" in line
    ]
    assert "+3.0 points" in lead
    assert "the paper's +5.2 and +6.9." in lead


def test_weights_and_readings_in_points(loaded):
    assert comparison.weights(loaded) == [
        "Weights au instead of scratch: Baseline +5.0 points, one seed (faces, 30 % noise, au)."
    ]
    at_30 = next(line for line in comparison.readings(loaded) if "30 %" in line)
    assert at_30.startswith("ASM by the given label instead of Eq. 3 as printed: +1.0 points, one seed")


def test_label_quality_tables_and_what_they_say(loaded):
    subsets = label_quality.table_subsets(loaded).frame.iloc[0]
    assert subsets["ambiguous: ambiguous %"] == pytest.approx(20)
    assert subsets["noisy: ambiguous %"] is None
    assert subsets["clean: samples %"] == pytest.approx(100 / 3)
    assert subsets["clean: vote entropy"] == pytest.approx(0.75)
    ranked = label_quality.table_ambiguous(loaded).frame
    assert list(ranked["Measure"].unique()) == ["AUROC", "rank correlation with the vote entropy"]
    assert ranked.iloc[0]["ASM, depth in the band"] == "0.800 [0.790, 0.810]"
    wrong = label_quality.table_wrong(loaded).frame
    assert list(wrong["Data set"]) == ["faces", "seven"]
    assert label_quality.table_wrong_sets(loaded).frame.iloc[0]["loss"] == "60.0 / 90.0"
    symmetric, real = (line for line in label_quality.findings(loaded) if line.startswith("“Noisy”"))
    assert "ASM calls 30.0 % noisy, 70.0 % of these are, and it finds 80.0 % of the wrong ones" in symmetric
    assert "best rival, loss, find 10.0 points more" in symmetric
    assert symmetric.endswith("0.900 [0.890, 0.910]: ASM is below it, beyond the intervals.")
    assert real.endswith("ASM is above it, beyond the intervals.")


def test_the_page_says_what_reproduces_and_what_the_mining_finds(run, tmp_path):
    written = (write_report(run, tmp_path / "page") / "README.md").read_text()
    for expected in (
        "## Beside the paper, and why",
        "## What the mining finds",
        "### Real label noise",
        "python -m asm gallery runs/<cell> data/aligned/<dataset>",
    ):
        assert expected in written


def test_vote_entropy_figure_has_a_panel_for_each_setting(loaded, small, write, tmp_path):
    figure = label_quality.entropy_figure(loaded)
    assert [axes.get_title() for axes in figure.axes] == [
        "faces, 30 % noise, au",
        "seven, real labels, au",
    ]
    assert label_quality.entropy_figure(read(write(tmp_path / "plain", small), small)) is None
