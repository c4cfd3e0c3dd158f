"""What the generated profiles hold, and that profiles/generate.py writes them."""

import runpy
import sys
from pathlib import Path

import pytest
import yaml
from tiny import PARAMS

from asm.grid import resolve as grid
from asm.grid.profile import Profile, load_profile

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ("paper", "synthetic", "ferplus", "regimes", "ferplus_finetune", "ferplus_gpu")


def profile_of(name: str) -> Profile:
    return load_profile(ROOT / "profiles" / name / "profile.yaml")


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_profile_is_what_the_script_writes(name, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())  # the script adds to it
    scope = runpy.run_path(str(ROOT / "profiles" / "generate.py"))
    assert (ROOT / "profiles" / name / "profile.yaml").read_text() == scope["PROFILES"][name]()


@pytest.mark.parametrize("name", ["ferplus", "ferplus_gpu"])
def test_the_ferplus_profiles_hold_the_tables_with_three_seeds_and_the_headline_with_five(name):
    cells = grid.grid(PARAMS, profile_of(name), name)["cells"]
    seeds: dict[tuple, set] = {}
    for cell in cells:
        changed = tuple(sorted((key, str(value)) for key, value in cell["changed"].items()))
        seeds.setdefault((cell["dataset"], cell["noise"], cell["method"], changed), set()).add(cell["seed"])
    assert min(map(len, seeds.values())) >= 3
    places = [("ferplus", noise) for noise in ("n00", "n10", "n20", "n30")] + [("ferplus7", "real")]
    for place in places:
        assert {len(seeds[*place, method, ()]) for method in ("baseline", "asm")} == {5}
        for method in ("two_networks", "scn", "rul", "eac", "man", "coteaching", "dividemix", "nct"):
            assert (*place, method, ()) in seeds
    for place in (("ferplus", "n30"), ("ferplus7", "real")):
        ablations = {changed for *where, method, changed in seeds if (*where, method) == (*place, "asm")}
        for left_out in (["mutual"], ["consistency"], ["mutual", "consistency"]):
            assert (("losses.replace_with_ce", str(left_out)),) in ablations
        assert (("thresholds.confidence", "max"),) in ablations


def test_in_each_regime_every_rule_stands_beside_the_baseline_and_the_control():
    regimes: dict[tuple, set] = {}
    for cell in grid.grid(PARAMS, profile_of("regimes"), "regimes")["cells"]:
        regime = {
            key: value for key, value in cell["changed"].items() if key.startswith(("training.", "optim"))
        }
        rule = {key: value for key, value in cell["changed"].items() if key not in regime}
        assert all(key.startswith(("thresholds.", "losses.")) for key in rule)
        if regime.get("training.warmup_epochs") != 8:  # a longer warm-up is nothing to the others
            place = (cell["dataset"], cell["noise"], cell["seed"], str(sorted(regime.items())))
            regimes.setdefault(place, set()).add((cell["method"], str(rule)))
    assert len(regimes) == 3 * 3 * 5
    plain = {("baseline", "{}"), ("two_networks", "{}"), ("asm", "{}")}
    for noise in {place[1] for place in regimes}:  # in some regimes all of the noise's rules, or none
        here = [found for place, found in regimes.items() if place[1] == noise]
        rules = max(here, key=len)
        screened_out = {rule for rule in rules if "max_noisy" in rule[1] or "calibrated" in rule[1]}
        assert all(found in (plain, rules, rules - screened_out) for found in here)
        assert plain < rules


def test_the_paper_profile_covers_every_published_ablation():
    published = yaml.safe_load((ROOT / "asm" / "report" / "paper.yaml").read_text())
    cells = grid.grid(PARAMS, profile_of("paper"), "paper")["cells"]
    for key, curve in published["fig_s1"].items():
        found = {
            c["changed"].get(f"losses.{key}", getattr(PARAMS.losses, key))
            for c in cells
            if len(c["changed"]) <= 1
        }
        assert found >= {float(v) for v in curve}
    for row in published["s1"]:
        wanted = {
            f"thresholds.{key}": row[key]
            for key in ("adaptive", "init_clean", "init_noisy")
            if row[key] != getattr(PARAMS.thresholds, key)
        }
        for dataset in ("rafdb", "ferplus"):
            seeds = [
                c["seed"]
                for c in cells
                if c["dataset"] == dataset
                and c["noise"] == "n00"
                and c["changed"] == wanted
                and c["method"] == "asm"
            ]
            assert seeds == [0, 1, 2], row
