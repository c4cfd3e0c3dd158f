"""The tables of details.md against numbers worked out by hand."""

import json

import pytest
from made_up import quality, read, row, with_accuracies, write_scores, write_timing

from asm.basics.errors import InputError
from asm.report import details


def test_both_schedules_have_their_own_rows_and_the_common_baseline(many, write, tmp_path):
    many["cells"] += [
        c | {"cell": f"{c['cell']}_pub", "schedule": "published"}
        for c in many["cells"] if c["dataset"] == "ferplus" and c["method"] not in ("baseline", "asm")
    ]  # fmt: skip
    wanted = {f"ferplus_n30_{m}_s{s}": a for m, a in (("baseline", 0.7), ("scn", 0.82)) for s in range(2)}
    wanted |= {f"ferplus_n30_scn_s{s}_pub": a for s, a in enumerate((0.90, 0.92))}
    found = with_accuracies(many, write, tmp_path, wanted)
    where = {"Data set": "ferplus", "Method": "SCN", "Noise": "30 %"}
    table = details.table_accuracy(found)
    assert row(table, **where, Schedule="common")["accuracy"].mean == pytest.approx(82)
    own = row(table, **where, Schedule="own paper's")
    for measure in ("accuracy", "mean class accuracy"):
        assert own[f"{measure} − baseline"].mean == pytest.approx(21)
    assert (own["accuracy"].mean, own["mean class accuracy"].mean) == (pytest.approx(91), pytest.approx(86))


def test_networks_are_told_apart_from_the_pair(loaded):
    table = details.table_accuracy(loaded)
    asm = row(table, Noise="30 %", Method="ASM")
    assert float(asm["net 1"]) == pytest.approx(asm["accuracy"].mean - 1.1, abs=0.01)  # the fixture's nets
    assert asm["a net − baseline"].mean == pytest.approx(asm["accuracy − baseline"].mean - 1.1)
    assert row(table, Noise="30 %", Method="Baseline")["net 1"] is None


def test_changes_are_paired_differences(grid, write, tmp_path):
    wanted = {"synthetic_n30_asm-3_s0": 0.77, "synthetic_n30_asm_s0": 0.78}
    scn = next(cell for cell in grid["cells"] if cell["cell"] == "synthetic_n30_scn_s0")
    grid["cells"].append(scn | {"cell": "kept", "changed": {"scn.relabel": False}})
    wanted |= {"synthetic_n30_scn_s0": 0.76, "kept": 0.74}
    table = details.table_changes(with_accuracies(grid, write, tmp_path, wanted))
    for method, points in (("ASM, Eq. 3 as printed", -1), ("SCN, without relabelling", -2)):
        line = row(table, Method=method)
        for measure in ("accuracy", "mean class accuracy"):
            assert line[f"{measure} − unchanged"].mean == pytest.approx(points)


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
    table = details.table_mining(found)
    assert row(table, Noise="30 %", Method="Baseline")["most of"] is None
    line = row(table, Noise="30 %", Method="ASM")
    assert list(line.values())[2:7] == ["90.0", "40.0", "0.71", "12.3", "anger (30.0 %)"]
    assert (line["noisy: recall %"], line["ambiguous: wrong %"]) == ("62.5", None)
    assert "vote entropy: ρ" not in line  # no cell has it
    assert row(table, Noise="0 %", Method="ASM")["noisy: precision %"] is None


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
    line = row(details.table_found(found), Noise="30 %")
    assert line["called noisy, %"] == "30.0"
    assert line["of these wrong / of the wrong found, %"] == "70.0 / 80.0"
    assert line["AUROC, wrong"] == "0.800; loss 0.900"
    assert line["ambiguous among clean / ambiguous / noisy, %"] == "5 / 20 / –"
    assert line["vote entropy of clean / ambiguous / noisy"] == "0.75 / 0.75 / 0.75"


def test_the_same_asked_out_of_sample_stands_below_and_says_so(small, write, tmp_path):
    root = write(tmp_path, small)
    path = root / "scores" / "synthetic_n30_asm_s0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"label_quality": quality(0.8, 0.9)}))
    assert "Predictions" not in details.table_found(read(root)).frame
    folder = root / "scores" / "out_of_sample"
    folder.mkdir()
    (folder / path.name).write_text(json.dumps(quality(0.7, 0.6)))
    found = read(root)
    frame = details.table_found(found).frame
    assert frame["Predictions"].tolist() == ["in sample", "out of sample"]
    assert frame["AUROC, wrong"].tolist() == ["0.800; loss 0.900", "0.700; loss 0.600"]
    (folder / path.name).write_text("{")
    with pytest.raises(InputError, match=f"out_of_sample/{path.name}: cannot be read"):
        read(root)
