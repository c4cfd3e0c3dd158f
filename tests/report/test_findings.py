"""The tables of docs/findings.md, and what the README says of them, are those of the committed reports."""

import json
import re
from pathlib import Path

import pandas as pd
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
METHODS = {
    "control": "two_networks",
    "Co-teaching": "coteaching",
    "Fair ASM": "fair_asm",
}  # else in lower case
TITLES = {"baseline": "Baseline", "control": "Two networks (control)", "Fair ASM": "Fair ASM (ours)"}
NOISES = {
    "no noise": "n00",
    "10 % wrong": "n10",
    "20 % wrong": "n20",
    "30 % wrong": "n30",
    "30 % noise": "n30",
}
HEADS = {
    "256 units": {"training.hidden": 256},
    "1,024 units": {},
    "1,024 units, 32 epochs": {
        "optimizer.lr_decay": 0.93,
        "training.epochs": 32,
        "training.warmup_epochs": 6,
    },
}

Changes = dict[str, float] | None


def _table(heading: int, place: int = 0) -> list[list[str]]:
    """The cells of a table of this section of the findings, without bold print."""
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}. ")[2].partition("\n## ")[0]
    lines = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[place].splitlines()[2:]
    return [[cell.strip().replace("*", "") for cell in line.strip("|").split("|")] for line in lines]


def _csv(profile: str, name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "profiles" / profile / "reports" / "tables" / f"{name}.csv")


def _cells(profile: str, noise: str, method: str, head: Changes = None, rule: Changes = None) -> pd.DataFrame:
    """The scored cells of a method in ASM's schedule, by seed. `noise` as the findings say it: FER2013's own
    labels have seven classes. `head`, `rule`: what the regime and a change of the method set."""
    table = _csv(profile, "cells").dropna(subset="accuracy")
    noise = NOISES.get(noise, "real")
    kept = table[
        (table.noise == noise)
        & (table.method == METHODS.get(method, method.lower()))
        & (table.schedule == "fair")
        & (table.rule.map(json.loads) == (rule or {}))
        & ((table.dataset == "ferplus7") == (noise == "real"))
        & (table.regime.map(json.loads) == (head or {}))
    ]
    assert len(kept) == kept.seed.nunique() > 0
    return kept.set_index("seed").sort_index()


def _both(cells: pd.DataFrame) -> str:
    return f"{cells.accuracy.mean():.1f} / {cells.mean_class_accuracy.mean():.1f}"


def _difference(ours: pd.Series, theirs: pd.Series) -> tuple[float, float]:
    """The mean over the seeds that both have, and half of its 95 % interval."""
    paired = (ours - theirs).dropna()
    return paired.mean(), stats.t.ppf(0.975, len(paired) - 1) * stats.sem(paired)


def _recognised(profile: str, cells: pd.DataFrame, name: str) -> list[float]:
    """Test images of a class that each cell recognises after its last epoch."""
    found = []
    for cell in cells.cell:
        scores = ROOT / "profiles" / profile / "reports" / "scores" / f"{cell}.json"
        classes = {each["name"]: each for each in json.loads(scores.read_text())["test"]["per_class"]}
        found.append(classes[name]["recall"] * classes[name]["support"])
    return found


def test_accuracy():
    noises = [*list(NOISES)[:4], "own labels"]
    table = _table(1)
    assert len(table) == 6
    for method, *shown in table:
        assert shown == [_both(_cells("ferplus", noise, method)) for noise in noises], method


def test_rare_expressions():
    places = [
        (noise, name) for noise in ("no noise", "30 % wrong") for name in ("fear", "disgust", "contempt")
    ]
    places += [("own labels", "fear"), ("own labels", "disgust")]
    table = _table(2)
    assert len(table) == 6
    for method, *shown in table:
        for (noise, name), cell in zip(places, shown, strict=True):
            found = _recognised("ferplus", _cells("ferplus", noise, method), name)
            mean = sum(found) / len(found)
            assert cell == f"{mean:.1f} ({min(found):.0f}–{max(found):.0f})", (method, noise, name)


def test_fair_asm_against_asm_and_the_baseline():
    table = _table(3)
    assert len(table) == 5
    for name, *shown in table:
        noise = name.partition(" (")[0]
        ours = _cells("ferplus", noise, "Fair ASM")
        assert name == f"{noise} ({len(ours)} seeds)"
        for place, cell in enumerate(shown):
            theirs = _cells("ferplus", noise, ("ASM", "baseline")[place // 2])
            measure = ("accuracy", "mean_class_accuracy")[place % 2]
            mean, half = _difference(ours[measure], theirs[measure])
            assert cell.replace("−", "-") == f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f})", (
                name,
                measure,
            )


def test_parts_of_asm():
    measured = _csv("ferplus", "table2").set_index("Setting")
    titles = {
        "baseline": "baseline: one network, cross-entropy",
        "AT": "thresholds alone, both losses replaced",
        "AT + L_mut": "thresholds and agreement of networks (Eq. 8–10)",
        "AT + L_usc": "thresholds and agreement of views (Eq. 11)",
        "AT + L_mut + L_usc (ASM)": "all of ASM",
    }
    table = {name: shown for name, *shown in _table(4)}
    control = "control: two networks, cross-entropy"
    assert table.keys() == {*titles.values(), control}
    for key, title in titles.items():
        row = measured.loc[key]
        assert table[title] == [
            f"{row[name]:.1f}" for name in ("ferplus, 30 % noise", "ferplus7, real labels")
        ]
    wanted = [_cells("ferplus", noise, "control").accuracy.mean() for noise in ("30 % wrong", "own labels")]
    assert table[control] == [f"{each:.1f}" for each in wanted]


def _heads() -> tuple[list[float], list[float]]:
    """Of the five heads of `regimes` at 30 % noise: the wrong labels that the baseline repeats, in percent,
    and ASM's accuracy less the baseline's, in points."""
    table = _csv("regimes", "table_regimes")
    table = table[table["Noise"] == "30 %"].head(5)  # further rows change the warm-up
    return table["it fits %"].tolist(), [float(each.split(" ±")[0]) for each in table["ASM as in the paper"]]


def test_asm_by_what_the_baseline_memorises():
    repeats, leads = _heads()
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    repeated = re.search(
        r"^\| wrong labels that the baseline repeats, 30 % noise \|(.*)\|$", text, re.MULTILINE
    )
    assert repeated[1].replace(" %", "").split("|") == [f" {each:.0f} " for each in repeats]
    assert _table(5)[0][1:] == [f"{each:+.1f}".replace("-", "−") for each in leads]


def test_fair_asm_in_other_regimes():
    table = _table(5, 1)
    assert len(table) == 6
    for name, *shown, difference in table:
        noise, head = name.partition(" (")[0].split(", ", 1)
        baseline, asm, fair = (
            _cells("regimes", noise, m, HEADS[head]) for m in ("baseline", "ASM", "Fair ASM")
        )
        assert shown == [_both(cells) for cells in (baseline, asm, fair)], name
        assert noise == "no noise" or name.endswith(f" ({baseline.fit_wrong.mean():.0f} %)")
        pairs = [_difference(fair[m], asm[m]) for m in ("accuracy", "mean_class_accuracy")]
        assert difference.replace("−", "-") == " / ".join(f"{a:+.1f} ± {b:.1f}" for a, b in pairs), name


def test_all_layers_of_dlibs_network():
    table = _table(6)
    assert len(table) == 3
    for method, *shown in table:
        noises = ("no noise", "30 % wrong", "own labels")
        assert shown == [_both(_cells("ferplus_finetune", noise, method)) for noise in noises], method


def test_all_layers_of_a_small_network():
    noises = {"0 %": "no noise", "10 %": "10 % wrong", "20 %": "20 % wrong", "30 %": "30 % wrong"}
    table = _table(6, 1)
    assert len(table) == 7
    page = _csv("ferplus_small", "table1").set_index("Method")
    for method, *shown in table:
        row = page.loc[TITLES.get(method, method)]
        for (rate, noise), both in zip(noises.items(), shown, strict=True):
            wanted = ""  # only what has not been run is blank
            if pd.notna(row[rate]):
                published = row.get(f"{rate}, paper")
                wanted = _both(_cells("ferplus_small", noise, method))
                wanted += "" if pd.isna(published) else f" ({published:.1f})"
            assert both == wanted, (method, noise)


def test_a_small_network_at_30_percent_noise():
    table = _table(6, 2)
    assert len(table) == 8
    for name, both, best, repeated, passes in table:
        method, _, rule = name.partition(", λ_max = ")
        rule = {"losses.lambda_max": 0.0} if rule else None
        cell = _cells("ferplus_small", "30 % wrong", method, rule=rule)
        scores = ROOT / f"profiles/ferplus_small/reports/scores/{cell.cell.item()}.json"
        epoch = json.loads(scores.read_text())["test"]["accuracy"]["best_epoch"]
        assert (both, best) == (_both(cell), f"{cell.best.item():.1f} (epoch {epoch})"), name
        assert repeated == f"{cell.fit_wrong.item():.0f}", name
        assert passes == f"{cell.forward_passes.item():.1f}", name


def test_rare_expressions_of_rendered_faces():
    table = _table(6, 3)
    assert len(table) == 5
    for method, *shown in table:
        cells = _cells("unbalanced", "30 % noise", method)
        wanted = [", ".join(f"{each:.1f}" for each in cells.accuracy)]
        for name in ("disgust", "fear"):
            wanted += [", ".join(f"{each:.0f}" for each in _recognised("unbalanced", cells, name))]
        assert shown == wanted, method


def test_what_subsets_mean():
    measured = _csv("ferplus", "table_found").set_index(["Data set", "Noise", "Method", "Predictions"])
    noise = measured.loc[("ferplus", "30 %", "ASM", "in sample")]
    own = measured.loc[("ferplus7", "real labels", "ASM", "in sample")]
    wanted = [noise["AUROC, wrong"], own["AUROC, wrong"], own["AUROC, ambiguous"]]
    for (_, asm, other), cell in zip(_table(8), wanted, strict=True):
        assert cell == f"{asm}; {other.removeprefix('the plain ').replace('of the prediction ', '')}"


def _over(theirs: str, noise: str, measure: str = "accuracy", ours: str = "ASM") -> tuple[float, float]:
    return _difference(_cells("ferplus", noise, ours)[measure], _cells("ferplus", noise, theirs)[measure])


def test_sentences_of_the_readme():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    noises = [noise for noise in NOISES if noise != "30 % noise"]
    classes = "mean_class_accuracy"

    mean, half = _over("baseline", "30 % wrong")
    own, _ = _over("baseline", "own labels")
    assert (
        f"At 30 % wrong labels ASM is {mean:.1f} points more accurate than the baseline (95 % interval "
        f"{mean - half:.1f} to {mean + half:.1f}, five seeds; the paper: 6.9), and {own:.1f} points on"
        in text
    )
    gains = [_over("baseline", noise, ours="control")[0] for noise in ("30 % wrong", "own labels")]
    assert f"The control gains only {gains[0]:.1f} and {gains[1]:.1f} points." in text

    harm = sorted(-_over("baseline", noise, classes)[0] for noise in noises)
    assert f"Its mean class accuracy is {harm[0]:.1f} to {harm[-1]:.1f} points below the baseline's" in text
    asm = _cells("ferplus", "30 % wrong", "ASM")
    found = zip(_recognised("ferplus", asm, "disgust"), _recognised("ferplus", asm, "contempt"), strict=True)
    assert max(map(sum, found)) == 1
    assert "at most one of the 31 test images of disgust and contempt" in text
    assert f"it loses {-_over('baseline', 'no noise')[0]:.1f} points of accuracy" in text

    gains = sorted(_over("ASM", noise, classes, "Fair ASM")[0] for noise in noises)
    assert f"{gains[0]:.1f} to {gains[-1]:.1f} points above it in mean class accuracy" in text
    assert (
        f"it is {-_over('ASM', 'own labels', ours='Fair ASM')[0]:.1f} points less accurate than ASM" in text
    )

    repeats, leads = _heads()
    assert f"It costs {-leads[0]:.1f} points of accuracy on networks too small" in text
    assert f"gains {leads[-1]:.1f} points on networks that memorise {repeats[-1]:.0f} %" in text

    for profile, noise, said in (
        (
            "ferplus_finetune",
            "30 % wrong",
            "ASM reaches {} % accuracy at 30 % wrong labels, the baseline {} %, the control {} %",
        ),
        ("ferplus_small", "30 % wrong", "that memorises less it is {}, {} and {} %"),
        ("ferplus_small", "no noise", "without wrong labels {}, {} and {} %"),
    ):
        found = [_cells(profile, noise, method).accuracy.mean() for method in ("ASM", "baseline", "control")]
        assert said.format(*(f"{each:.1f}" for each in found)) in text
