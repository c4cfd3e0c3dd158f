"""Many methods beside one another: order, differences, cost, schedules, networks."""

import pandas as pd
import pytest
from made_up import read, write_report, write_scores

from asm.errors import InputError
from asm.report import comparison, figures, related, tables
from asm.report.estimates import Points, estimate

# Percent, seeds 0 and 1. Against the paper's ASM > EAC > RUL > SCN > Baseline two of the ten pairs are the
# other way round, EAC above ASM and SCN above RUL: tau = (8 - 2) / 10.
AT_30 = {
    "baseline": (70.0, 72.0),
    "scn": (81.5, 83.7),
    "rul": (80.0, 82.0),
    "eac": (89.0, 89.0),
    "asm": (86.0, 88.0),
    "man": (86.5, 86.5),
    "jocor": (87.0, 87.4),
    "dmue": (75.0, 75.0),
}


def accuracies(dataset: str = "ferplus", noise: str = "n30") -> dict[str, float]:
    return {
        f"{dataset}_{noise}_{method}_s{seed}": value / 100
        for method, values in AT_30.items()
        for seed, value in enumerate(values)
    }


@pytest.fixture
def loaded(many, write, tmp_path):
    return read(write(tmp_path, many, accuracies()), many)


def row(table, **where):
    frame = table.frame
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0].to_dict()


def doubled(many: dict) -> dict:
    """The grid with every peer of ferplus in its own paper's schedule too."""
    again = [
        {**cell, "cell": f"{cell['cell']}_pub", "schedule": "published"}
        for cell in many["cells"]
        if cell["dataset"] == "ferplus" and cell["method"] not in ("baseline", "asm")
    ]
    return {**many, "cells": [*many["cells"], *again]}


def test_the_order_is_compared_with_the_papers_by_hand(loaded):
    note = next(n for n in tables.table1(loaded).notes if n.startswith("Order on ferplus"))
    assert note.startswith(
        "Order on ferplus: the paper's order on FERPlus is ASM > EAC > RUL > SCN > Baseline at 10 and 30 % "
        "noise."
    )
    # Of the eight pairs as in the paper two hold 0: EAC - RUL (9 and 7: 8 +- 12.7) and EAC - SCN (7.5 and
    # 5.3: 6.4 +- 14.0). Of the others EAC - ASM is 3 and 1: 2 +- 12.7062; SCN - RUL is 1.5 and 1.7: 1.6 +-
    # 1.27062.
    assert note.endswith(
        "Ours at 30 % noise is EAC > ASM > SCN > RUL > Baseline (Kendall's tau 0.60; 8 of 10 pairs as in the "
        "paper, 6 of them beyond chance); the other way round beyond chance: SCN above RUL by 1.6 points "
        "(95 % interval +0.3 to +2.9, 2 seeds); within chance: EAC above ASM by 2.0 points (95 % interval "
        "-10.7 to +14.7, 2 seeds)."
    )
    assert "MAN" not in note  # the paper has no figures of it


def test_a_tie_is_neither_as_in_the_paper_nor_the_other_way_round(many, write, tmp_path):
    wanted = accuracies() | {"ferplus_n30_scn_s0": 0.80, "ferplus_n30_scn_s1": 0.82}  # as RUL
    note = next(
        n
        for n in tables.table1(read(write(tmp_path, many, wanted), many)).notes
        if n.startswith("Order on ferplus")
    )
    # tau-b: 8 pairs as in the paper, 1 turned, 1 tied: (8 - 1) / sqrt(9 * 10) = 0.74
    assert "EAC > ASM > SCN = RUL > Baseline (Kendall's tau 0.74; 8 of 10 pairs as in the paper" in note
    assert "SCN above RUL" not in note.split("Ours at 30 %")[1]


def test_data_that_the_paper_lacks_are_compared_with_raf_db_and_one_seed_has_no_interval(
    many, write, tmp_path
):
    skip = [c["cell"] for c in many["cells"] if c["seed"] == 1]
    wanted = accuracies("synthetic") | accuracies("synthetic", "n10")
    found = read(write(tmp_path, many, wanted, skip=skip), many)
    note = next(n for n in tables.table1(found).notes if n.startswith("Order on synthetic"))
    # seed 0 alone has the same order at both noises, so one sentence says both
    assert note == (
        "Order on synthetic: this table of the paper has no such data; its order on RAF-DB stands in: ASM > "
        "EAC > RUL > SCN > Baseline at 10 and 30 % noise. Ours at 10 and 30 % noise is EAC > ASM > SCN > RUL "
        "> Baseline (Kendall's tau 0.60; 8 of 10 pairs as in the paper, no intervals); the other way round "
        "without an interval: EAC above ASM by 3.0 points (one seed), SCN above RUL by 1.5 points (one seed)."
    )


def test_table3_compares_without_noise_and_lists_methods_that_only_we_or_the_paper_have(
    many, write, tmp_path
):
    wanted = accuracies("ferplus", "n00")
    table = tables.table3(read(write(tmp_path, many, wanted), many))
    methods = ["Baseline", "IPA2LT†", "RAN", "SCN", "DACL", "RUL", "EAC", "ASM", "DMUE", "MAN", "JoCoR"]
    assert list(table.frame["Method"]) == methods
    assert row(table, Method="RAN")["ours: ferplus"] is None
    assert row(table, Method="RAN")["paper: FERPlus"] == 88.55
    assert row(table, Method="MAN")["ours: ferplus"].mean == pytest.approx(86.5)
    assert row(table, Method="MAN")["paper: FERPlus"] is None
    note = next(n for n in table.notes if n.startswith("Order on ferplus"))
    # paper, FERPlus: ASM 90.21, EAC 89.64, RUL 88.75, SCN 88.01; two of the six pairs turned: tau = 2 / 6
    assert "is ASM > EAC > RUL > SCN. Ours is EAC > ASM > SCN > RUL (Kendall's tau 0.33; 4 of 6" in note


def test_table1_keeps_the_papers_order_before_ours_at_every_noise(many, write, tmp_path):
    for cell in [c for c in many["cells"] if c["method"] == "dmue"]:
        many["cells"].append({**cell, "cell": cell["cell"].replace("dmue", "ran"), "method": "ran"})
    frame = tables.table1(read(write(tmp_path, many), many)).frame
    expected = ["Baseline", "SCN", "RUL", "EAC", "ASM", "RAN", "DMUE", "MAN", "JoCoR"]
    for noise in ("0 %", "10 %", "30 %"):
        assert list(frame[frame["Noise"] == noise]["Method"]) == expected
    assert list(frame[frame["Noise"] == "20 %"]["Method"]) == expected[:5]  # the paper's alone


def test_where_asm_stands_among_all_methods(loaded):
    ferplus = [line for line in comparison.ranks(loaded) if line.startswith("At 30 % noise (ferplus)")]
    # means: EAC 89, JoCoR 87.2, ASM 87; JoCoR - ASM is 1 and -0.6: 0.2 +- 12.7062 * 1.6 / 2 = 10.165
    assert ferplus == [
        "At 30 % noise (ferplus) ASM ranks 3 of 8 methods by mean accuracy; above it within chance: EAC by "
        "2.0 points (95 % interval -10.7 to +14.7, 2 seeds), JoCoR by 0.2 points (95 % interval -10.0 to "
        "+10.4, 2 seeds)."
    ]


def test_the_difference_has_the_sign_of_the_order_where_seeds_differ(many, write, tmp_path):
    # SCN, run with one seed, is above ASM's mean over two, and below ASM with that seed
    wanted = accuracies() | {"ferplus_n30_scn_s0": 0.855}
    wanted |= {"ferplus_n30_asm_s0": 0.86, "ferplus_n30_asm_s1": 0.8}
    found = read(write(tmp_path, many, wanted, skip=("ferplus_n30_scn_s1",)), many)
    line = next(n for n in comparison.ranks(found) if n.startswith("At 30 % noise (ferplus)"))
    assert "SCN by 2.5 points (not the same seeds)" in line
    note = next(n for n in tables.table1(found).notes if n.startswith("Order on ferplus"))
    assert "SCN above ASM by 2.5 points (not the same seeds)" in note
    assert "by -" not in line + note


def test_methods_with_fewer_seeds_are_weighed_over_those_that_both_have(many, write, tmp_path):
    third = {**many["cells"][-1], "cell": "ferplus_n30_asm_s2", "method": "asm", "seed": 2}
    many["cells"].append(third)
    found = read(write(tmp_path, many, accuracies() | {"ferplus_n30_asm_s2": 0.87}), many)
    line = next(n for n in comparison.ranks(found) if n.startswith("At 30 % noise (ferplus)"))
    # ASM's mean stays 87; EAC - ASM over seeds 0 and 1 is 3 and 1
    assert "EAC by 2.0 points (95 % interval -10.7 to +14.7, 2 seeds)" in line


def test_the_lead_of_the_best_method_is_weighed_too(many, write, tmp_path):
    wanted = accuracies() | {f"ferplus_n30_asm_s{seed}": a for seed, a in enumerate((0.91, 0.912))}
    found = read(write(tmp_path, many, wanted), many)
    line = next(n for n in comparison.ranks(found) if n.startswith("At 30 % noise (ferplus)"))
    # ASM - EAC is 2 and 2.2: 2.1 +- 1.27062
    assert line.endswith(
        "ASM ranks 1 of 8 methods by mean accuracy; its lead over the next beyond chance: EAC by 2.1 points "
        "(95 % interval +0.8 to +3.4, 2 seeds)."
    )


def test_differences_are_signed_and_never_minus_zero():
    points = estimate([-0.004, 0.002], Points)
    assert str(points) == "+0.00 ± 0.04 (2 seeds)"
    assert points.interval == "95 % interval +0.0 to +0.0"
    assert not points.excludes_zero
    assert str(estimate([-1.5], Points)) == "-1.50"
    assert not estimate([-1.5], Points).excludes_zero


def test_related_work_has_paired_differences_and_cost(many, write, time_cells, tmp_path):
    third = {**many["cells"][-1], "cell": "ferplus_n30_asm_s2", "method": "asm", "seed": 2}
    many["cells"].append(third)
    root = write(tmp_path, many, accuracies() | {"ferplus_n30_asm_s2": 0.96})
    seconds = {f"synthetic_n30_{m}_s{s}": [2.0, 4.0] for m in ("baseline", "scn") for s in range(2)}
    seconds |= {"synthetic_n30_asm_s0": [4.0, 8.0, 12.0], "synthetic_n30_asm_s1": [10.0]}
    seconds |= {"synthetic_n00_eac_s0": [77.0]}  # not its noisiest setting, but the one that was timed
    found = read(root, many, time_cells(tmp_path / "timing", seconds))
    table = related.table_related(found)
    asm, baseline, eac = (row(table, Method=m) for m in ("ASM", "Baseline", "EAC"))
    # 16 and 16 over the two seeds that the baseline has too; the mean over all three is (86 + 88 + 96) / 3
    assert asm["ferplus, 30 %: − baseline"].mean == pytest.approx(16)
    assert (asm["ferplus, 30 %: − baseline"].n, asm["ferplus, 30 %"].n) == (2, 3)
    assert asm["ferplus, 30 %"].mean == pytest.approx(90)
    assert baseline["ferplus, 30 %: − baseline"] is None
    assert "ferplus, 10 %" not in table.frame
    # seconds: mean over the epochs (8 and 10), then the median of the two cells; the baseline's is 3
    assert (asm[related.SECONDS], baseline[related.SECONDS]) == (9, 3)
    assert (asm[related.RATIO], baseline[related.RATIO]) == (3, 1)
    assert (eac[related.SECONDS], eac[related.RATIO]) == (77, None)  # no baseline was timed there
    assert (asm[related.NETWORKS], baseline[related.NETWORKS]) == (2, 1)
    assert asm[related.PASSES] == pytest.approx(3)
    assert asm[related.PARAMETERS] == pytest.approx(1.4)
    assert any("depend on the machine: device cpu, torch 2.11.0" in n for n in table.notes)


def test_the_median_over_seeds_is_not_the_mean(many, write, time_cells, tmp_path):
    many["cells"].append({**many["cells"][0], "cell": "third", "seed": 2})
    root = write(tmp_path, many)
    cells = ("synthetic_n00_baseline_s0", "synthetic_n00_baseline_s1", "third")
    timing = time_cells(tmp_path / "timing", dict(zip(cells, ([1.0], [2.0], [9.0]), strict=True)))
    group = read(root, many, timing).group("synthetic", "n00", "baseline", "au")
    assert group.seconds() == 2


def test_timings_reach_only_the_related_table_and_the_costs(many, write, time_cells, tmp_path):
    root = write(tmp_path, many)
    tables.write(read(root), tmp_path / "a")
    timing = time_cells(tmp_path / "timed", {"synthetic_n30_asm_s0": [1.0, 2.5]})
    tables.write(read(root, timing=timing), tmp_path / "b")
    written = list((tmp_path / "a").iterdir())
    assert len(written) > 20
    differing = {p.name for p in written if p.read_bytes() != (tmp_path / "b" / p.name).read_bytes()}
    assert differing == {"table_related.md", "table_related.csv", "table_related.tex", "cost.csv"}
    cost = pd.read_csv(tmp_path / "b" / "cost.csv").set_index("cell")
    assert list(cost) == ["last5", "seconds_per_epoch", "forward_passes", "parameters"]
    assert len(cost) == len(many["cells"])
    assert cost.loc["synthetic_n30_asm_s0", "seconds_per_epoch"] == 1.75
    assert cost["seconds_per_epoch"].notna().sum() == 1
    assert cost.loc["synthetic_n30_asm_s0", "parameters"] == 1_400_000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "cannot be read"),
        ("epoch,busy_seconds\n1,fast\n", "cannot be read"),
        ("epoch,busy_seconds\n", "expected positive seconds"),
    ],
)
def test_a_malformed_timing_file_is_named(many, write, tmp_path, content, expected):
    root = write(tmp_path, many)
    (tmp_path / "timing" / "synthetic_n30_asm_s0.csv").write_text(content)
    with pytest.raises(InputError, match=rf"synthetic_n30_asm_s0\.csv: .*{expected}"):
        read(root)
    with pytest.raises(InputError, match="nowhere: expected the directory of timing files"):
        read(root, timing=tmp_path / "nowhere")


def test_both_schedules_have_their_own_rows_and_the_common_baseline(many, write, tmp_path):
    many = doubled(many)
    wanted = accuracies() | {f"ferplus_n30_scn_s{s}_pub": a for s, a in enumerate((0.90, 0.92))}
    found = read(write(tmp_path, many, wanted), many)
    table = tables.table1(found)
    assert row(table, Noise="30 %", Method="SCN", Schedule="common")["ours: ferplus"].mean == pytest.approx(
        82.6
    )
    own = row(table, Noise="30 %", Method="SCN", Schedule="own paper's")
    assert own["ours: ferplus"].mean == pytest.approx(91)
    assert own["ours: synthetic"] is None
    assert row(table, Noise="30 %", Method="ASM")["Schedule"] == "common"
    in_own = row(related.table_related(found), Method="SCN", Schedule="own paper's")
    assert in_own["ferplus, 30 %: − baseline"].mean == pytest.approx(20)  # 90 - 70 and 92 - 72
    orders = [n for n in table.notes if n.startswith("Order on")]
    assert [n.split(": the")[0].split(": this")[0] for n in orders] == [
        "Order on synthetic, schedule: common",
        "Order on ferplus, schedule: common",
        "Order on ferplus, schedule: own paper's",
    ]
    assert " is SCN > " in orders[2]  # with the common cells of ASM and the baseline
    assert "ASM" in orders[2].split("Ours at 30 %")[1]


def test_the_note_says_which_schedule_was_used(many, write, tmp_path):
    root = write(tmp_path, many)
    fair = read(root, many)
    assert "Every method in the common schedule: 12 epochs, 3 of them warm-up, batch size 32." in [
        *tables.table1(fair).notes,
    ]
    with pytest.raises(InputError, match="schedule is 'fair', the grid says 'published'"):
        read(root, {**many, "cells": [c | {"schedule": "published"} for c in many["cells"]]})
    many["cells"] = [c | {"schedule": "published"} for c in many["cells"]]
    published = read(write(tmp_path, many), many)
    for table in (tables.table1(published), tables.table3(published), related.table_related(published)):
        assert "Schedule" not in table.frame
        assert [n for n in table.notes if n.startswith("Every method in the schedule of its own paper")]


def test_networks_of_every_pair_at_every_noise(loaded):
    table = tables.table1_networks(loaded)
    assert len(table.frame) == 2 * 3 * 3  # data sets x noises x ASM, MAN and JoCoR
    assert list(table.frame["Noise"][:6]) == ["0 %"] * 3 + ["10 %"] * 3
    jocor = row(table, **{"Data set": "ferplus", "Noise": "30 %", "Method": "JoCoR"})
    # the pair has 87.2 on the mean, each network 1.1 less, the baseline 71
    assert jocor["pair"].mean == pytest.approx(87.2)
    assert jocor["mean of nets"].mean == pytest.approx(86.1)
    assert jocor["pair − mean of nets (points)"] == pytest.approx(1.1)
    assert jocor["mean of nets − baseline (points)"] == pytest.approx(15.1)


def test_networks_that_differ_are_averaged(many, write, tmp_path, scores_of):
    root = write(tmp_path, many)
    for seed, nets in enumerate(((0.70, 0.74), (0.80, 0.90))):
        cell = next(c for c in many["cells"] if c["cell"] == f"ferplus_n30_man_s{seed}")
        scores = scores_of(cell, many)
        scores["test"]["networks"] = [{"last5": net} for net in nets]
        write_scores(root, scores)
    table = tables.table1_networks(read(root, many))
    man = row(table, **{"Data set": "ferplus", "Noise": "30 %", "Method": "MAN"})
    assert [man[k].mean for k in ("net 1", "net 2", "mean of nets")] == pytest.approx([75, 82, 78.5])


def test_the_mining_table_has_the_subsets_of_every_method_that_mines(loaded):
    assert set(tables.table_mining(loaded).frame["Method"]) == {"ASM", "MAN"}


def test_accuracy_curves_show_the_methods_of_table_1_in_their_own_colours(loaded):
    figure = figures.accuracy(loaded, "ferplus", "au")
    shown = [t.get_text() for t in figure.legends[0].get_texts()]
    assert shown == ["Baseline", "SCN", "RUL", "EAC", "ASM"]
    assert len({line.get_color() for line in figure.legends[0].get_lines()}) == 5
    figure.draw_without_rendering()
    below = figure.legends[0].get_window_extent().y1
    assert all(axes.get_window_extent().y0 > below for axes in figure.axes)


def test_curves_of_different_length_all_fit(many, write, tmp_path, scores_of):
    root = write(tmp_path, many)
    cell = next(c for c in many["cells"] if c["cell"] == "ferplus_n30_scn_s0")
    scores = scores_of(cell, many)
    scores["curves"] |= {"epoch": list(range(1, 31)), "accuracy": [0.8] * 30}
    write_scores(root, scores)
    figure = figures.accuracy(read(root, many), "ferplus", "au")
    assert figure.axes[2].get_xlim()[1] == 30.5


def test_the_page_speaks_of_the_methods_that_were_run(many, write, time_cells, tmp_path, monkeypatch):
    monkeypatch.setattr(figures.drawing, "save", lambda figure, out, stem: [])
    root = write(tmp_path, many, accuracies())
    time_cells(root / "timing", {"synthetic_n30_asm_s0": [123.0]})
    content = (write_report(root) / "README.md").read_text(encoding="utf-8")
    parts = {p.split("\n")[0]: p for p in content.split("\n## ")}
    assert "Two networks, averaged at test: ASM, MAN and JoCoR; all others" in parts["How to read this page"]
    assert "“within chance”" in parts["How to read this page"]
    shortcomings = parts["Shortcomings"]
    assert "Told the noise rate of each cell, which the other methods are not: JoCoR." in shortcomings
    assert "The common schedule is ASM's" in shortcomings
    assert "not part of this profile: IPA2LT, RAN, DACL." in shortcomings
    assert "48 of 48 settings rest on two seeds" in shortcomings
    assert "| 123.00" in parts["Tables"]  # the page shows the tables as they were written
    assert "ASM ranks 3 of 8" in parts["# Results: profile made_up"]
    assert "reproduce" not in content.lower()
