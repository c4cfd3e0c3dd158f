"""The tables of details.md against numbers worked out by hand."""

import json

import pytest
from made_up import quality, read, row, with_accuracies, write_scores, write_timing

from asm.basics.errors import InputError
from asm.report import details, label_quality, tables

# Against the paper's ASM > EAC > RUL > SCN > Baseline two of the ten pairs are the other way round, EAC
# above ASM and SCN above RUL: tau = (8 - 2) / 10. Of the eight others two hold 0: EAC - RUL (9 and 7: 8 +-
# 12.7) and EAC - SCN (7.5 and 5.3: 6.4 +- 14.0).
AT_30 = {
    "baseline": (70.0, 72.0),
    "scn": (81.5, 83.7),
    "rul": (80.0, 82.0),
    "eac": (89.0, 89.0),
    "asm": (86.0, 88.0),
}


def at_30(dataset: str = "ferplus") -> dict[str, float]:
    return {f"{dataset}_n30_{m}_s{s}": v / 100 for m, values in AT_30.items() for s, v in enumerate(values)}


def test_the_order_is_compared_with_the_papers_by_hand(many, write, tmp_path):
    table = details.table_order(with_accuracies(many, write, tmp_path, at_30()))
    line = row(table, Noise="30 %", **{"Data set": "ferplus"})
    assert line["ours"] == "EAC > ASM > SCN > RUL > Baseline"
    assert line["the paper's"] == "ASM > EAC > RUL > SCN > Baseline (FERPlus)"
    assert line["Kendall's tau"] == pytest.approx(0.6)
    assert line["pairs as in the paper"] == "8 of 10, 6 beyond chance"
    assert row(table, Noise="30 %", **{"Data set": "synthetic"})["the paper's"].endswith("(RAF-DB)")
    assert "MAN" not in line["ours"]  # the paper has no figures of it


def test_both_schedules_have_their_own_rows_and_the_common_baseline(many, write, tmp_path):
    many["cells"] += [
        c | {"cell": f"{c['cell']}_pub", "schedule": "published"}
        for c in many["cells"] if c["dataset"] == "ferplus" and c["method"] not in ("baseline", "asm")
    ]  # fmt: skip
    wanted = at_30() | {f"ferplus_n30_scn_s{s}_pub": a for s, a in enumerate((0.90, 0.92))}
    found = with_accuracies(many, write, tmp_path, wanted)
    where = {"Data set": "ferplus", "Method": "SCN", "Noise": "30 %"}
    table = details.table_accuracy(found)
    assert row(table, **where, Schedule="common")["accuracy"].mean == pytest.approx(82.6)
    own = row(table, **where, Schedule="own paper's")
    assert own["accuracy"].mean == pytest.approx(91)
    assert own["− baseline (points)"].mean == pytest.approx(20)  # 90 - 70 and 92 - 72
    order = row(details.table_order(found), Noise="30 %", Schedule="own paper's", **{"Data set": "ferplus"})
    assert order["ours"].startswith("SCN > ")  # with the common cells of ASM and the baseline


def test_networks_are_told_apart_from_the_pair(loaded):
    table = details.table_accuracy(loaded)
    asm = row(table, Noise="30 %", Method="ASM")
    assert float(asm["net 1"]) == pytest.approx(asm["accuracy"].mean - 1.1, abs=0.01)  # the fixture's nets
    assert asm["a net − baseline (points)"].mean == pytest.approx(asm["− baseline (points)"].mean - 1.1)
    assert row(table, Noise="30 %", Method="Baseline")["net 1"] is None


def test_changes_and_weights_are_paired_differences(grid, write, tmp_path):
    grid["inits"]["scratch"] = {"about": "random"}
    grid["cells"].append(grid["cells"][0] | {"cell": "scratch", "init": "scratch"})
    wanted = {"synthetic_n30_asm-3_s0": 0.77, "synthetic_n30_asm_s0": 0.78}
    wanted |= {"synthetic_n00_baseline_s0": 0.75, "scratch": 0.70}
    scn = next(cell for cell in grid["cells"] if cell["cell"] == "synthetic_n30_scn_s0")
    grid["cells"].append(scn | {"cell": "kept", "changed": {"scn.relabel": False}})
    wanted |= {"synthetic_n30_scn_s0": 0.76, "kept": 0.74}
    found = with_accuracies(grid, write, tmp_path, wanted)
    changed = row(details.table_changes(found), Method="ASM, Eq. 3 as printed")
    assert changed["− unchanged (points)"].mean == pytest.approx(-1)
    changed = row(details.table_changes(found), Method="SCN, without relabelling")
    assert changed["− unchanged (points)"].mean == pytest.approx(-2)
    weights = details.table_weights(found).frame.to_dict("records")
    assert [(w["Method"], w["au − scratch (points)"].mean) for w in weights] == [
        ("Baseline", pytest.approx(5))
    ]


def test_fit_and_mining_by_hand(small, write, tmp_path, scores_of):
    root = write(tmp_path, small)
    cell = next(c for c in small["cells"] if c["cell"] == "synthetic_n30_asm_s0")
    scores = scores_of(cell, small)
    scores["fit"] = {"right": 0.9, "wrong": 0.4}
    mining = scores["mining"]
    mining["right_noisy"][-1], mining["clean_threshold_start"], mining["noisy_recall"][-1] = (
        0.123,
        0.71,
        0.625,
    )
    mining["right_noisy_by_class"] |= {"anger": 0.3, "fear": None}
    mining["wrong_share"]["ambiguous"][-1] = None
    write_scores(root, scores)
    found = read(root)
    asm = row(details.table_fit(found), Noise="30 %", Method="ASM")
    assert list(asm.values())[2:] == ["90.0", "40.0", "0.71", "12.3", "anger (30.0 %)"]
    assert row(details.table_fit(found), Noise="30 %", Method="Baseline")["most of"] is None
    line = row(details.table_mining(found), Noise="30 %")
    assert (line["noisy: recall %"], line["ambiguous: wrong %"]) == ("62.5", None)
    assert "vote entropy: ρ" not in line  # no cell has it
    assert row(details.table_mining(found), Noise="0 %")["noisy: precision %"] is None


def test_cost_is_the_median_over_seeds_beside_the_baselines(many, write, tmp_path):
    seconds = {f"synthetic_n30_{m}_s{s}": [2.0, 4.0] for m in ("baseline", "scn") for s in range(2)}
    seconds |= {"synthetic_n30_asm_s0": [4.0, 8.0, 12.0], "synthetic_n30_asm_s1": [10.0]}
    seconds |= {"synthetic_n00_eac_s0": [77.0]}  # not its noisiest setting, but the one that was timed
    root = write(tmp_path, many)
    table = details.table_cost(read(root, timing=write_timing(tmp_path / "timed", seconds)))
    asm, eac = (row(table, Method=m) for m in ("ASM", "EAC"))
    # seconds: mean over the epochs (8 and 10), then the median of the two cells; the baseline's is 3
    assert (asm["seconds per epoch"], asm["× baseline"], asm["networks"]) == (9, 3, 2)
    assert (eac["seconds per epoch"], eac["× baseline"]) == (77, None)  # no baseline was timed there
    assert (asm["forward passes per sample"], asm["parameters, millions"]) == ("3.00", "1.40")
    assert "Told the noise rate, which the others are not: JoCoR." in table.notes[1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "cannot be read"),
        ("epoch,busy_seconds\n1,fast\n", "cannot be read"),
        ("epoch,busy_seconds\n", "expected positive seconds"),
    ],
)
def test_a_malformed_timing_file_is_named(small, write, tmp_path, content, expected):
    root = write(tmp_path, small)
    (tmp_path / "timing" / "synthetic_n30_asm_s0.csv").write_text(content)
    with pytest.raises(InputError, match=rf"synthetic_n30_asm_s0\.csv: .*{expected}"):
        read(root)
    with pytest.raises(InputError, match="nowhere: expected the directory of timing files"):
        read(root, timing=tmp_path / "nowhere")


def test_what_the_mining_finds_beside_the_best_rival(small, write, tmp_path):
    root = write(tmp_path, small)
    path = root / "scores" / "synthetic_n30_asm_s0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"label_quality": quality(0.8, 0.9)}))
    found = read(root)
    line = row(tables.table_found(found), Noise="30 %")
    assert [line[f"{k}, %"] for k in ("called noisy", "of these wrong", "of the wrong found")] == [
        "30.0",
        "70.0",
        "80.0",
    ]
    assert line["AUROC, wrong"] == "0.800; loss 0.900"
    assert line["ambiguous among clean / ambiguous / noisy, %"] == "5 / 20 / –"
    subsets = label_quality.table_subsets(found).frame.iloc[0]
    assert subsets["clean: samples %"] == pytest.approx(100 / 3)
    assert (subsets["noisy: ambiguous %"], subsets["clean: vote entropy"]) == (None, pytest.approx(0.75))
    ranked = label_quality.table_ambiguous(found).frame
    assert list(ranked["Measure"]) == ["AUROC", "rank correlation with the vote entropy"]
    assert ranked.iloc[0]["ASM, depth in the band"] == "0.800 [0.790, 0.810]"
    assert label_quality.table_wrong_sets(found).frame.iloc[0]["loss"] == "60.0 / 90.0"


def test_the_same_asked_out_of_sample_stands_below_and_says_so(small, write, tmp_path):
    root = write(tmp_path, small)
    path = root / "scores" / "synthetic_n30_asm_s0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"label_quality": quality(0.8, 0.9)}))
    before = label_quality.table_wrong(read(root))
    assert "Predictions" not in before.frame
    folder = root / "scores" / "out_of_sample"
    folder.mkdir()
    (folder / path.name).write_text(json.dumps(quality(0.7, 0.6)))
    found = read(root)
    for table in (label_quality.table_wrong(found), tables.table_found(found)):
        rows = table.frame[table.frame["Predictions"].isin(["in sample", "out of sample"])]
        assert rows["Predictions"].tolist() == ["in sample", "out of sample"]
        assert any("folds" in note for note in table.notes)
    assert label_quality.table_wrong(found).frame["loss"].tolist() == [
        "0.900 [0.890, 0.910]",
        "0.600 [0.590, 0.610]",
    ]
    (folder / path.name).write_text("{")
    with pytest.raises(InputError, match=f"out_of_sample/{path.name}: cannot be read"):
        read(root)
