"""Profiles written as axes: what they expand to, what is derived, and what cells.yaml says to DVC."""

import copy
from pathlib import Path

import pytest
import yaml
from tiny import PARAMS

from asm.basics.errors import InputError
from asm.grid import resolve as grid
from asm.grid.cells import cells_text, check_cells, write_cells
from asm.grid.profile import Profile, load_profile, parse_profile

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(path.parent.name for path in ROOT.glob("profiles/*/profile.yaml"))
CONTENT = yaml.safe_load("""
training: {input: aligned, image_size: 32, width: 4, epochs: 3, warmup_epochs: 1, batch_size: 8}
datasets: {a: {source: rafdb, root: x}, b: {source: ferplus, root: y, options: {num_classes: 7}}}
noises:
  n00: {kind: symmetric, rate: 0.0}
  n30: {kind: symmetric, rate: 0.3}
  real: {kind: original, rate: 0.4}
inits: {none: {weights: none}}
settings:
  small: {training: {epochs: 2}, losses: {omega: 0.5}}
  max: {thresholds: {confidence: max}, losses: {gamma: 0.5}}
  plain: {scn: {relabel: false}, rul: {relabel: false}}
grid:
  - {datasets: [a, b], noises: n30, methods: [baseline, asm], seeds: [0, 1]}
""")


def profile(*blocks: dict, **changes) -> Profile:
    content = copy.deepcopy(CONTENT) | changes
    content["grid"] = [*content["grid"], *({"datasets": "a", "noises": "n00", **block} for block in blocks)]
    return parse_profile(content, "test profile")


def profile_of(name: str) -> Profile:
    return load_profile(ROOT / "profiles" / name / "profile.yaml")


def test_a_block_is_every_data_set_with_every_noise_method_and_seed():
    cells = profile().cells
    places = [(d, m, s) for d in "ab" for m in ("baseline", "asm") for s in (0, 1)]
    assert list(cells) == [f"{d}_n30_{m}_s{s}" for d, m, s in places]
    rows = [(row.dataset, row.noise, row.method, row.init, row.seed, row.set) for row in cells.values()]
    assert rows == [(d, "n30", m, "none", s, {}) for d, m, s in places]


def test_settings_and_sweeps_name_cells_and_change_them():
    asm = {"methods": "asm", "inits": "none"}
    added = profile(
        {**asm, "settings": ["small", ["small", "max"]], "sweep": {"losses.beta": [0.2, 2.0]}},
        {"methods": ["scn", "baseline"], "inits": "none", "settings": ["plain"]},
        {"methods": "asm", "inits": ["none", "au"]},
        inits={"none": {"weights": "none"}, "au": {"weights": "synthetic", "faces": 2, "epochs": 1}},
        grid=[],
    ).cells
    small, most = CONTENT["settings"]["small"], CONTENT["settings"]["max"]
    assert {name: row.set for name, row in added.items()} == {
        "a_n00_asm_small_s0": small,
        "a_n00_asm_small_max_s0": {**small, **most, "losses": {"omega": 0.5, "gamma": 0.5}},
        "a_n00_asm_beta02_s0": {"losses": {"beta": 0.2}},
        "a_n00_asm_beta2_s0": {"losses": {"beta": 2.0}},
        "a_n00_scn_plain_s0": {"scn": {"relabel": False}},
        "a_n00_baseline_plain_s0": {},
        "a_n00_asm_none_s0": {},
        "a_n00_asm_au_s0": {},
    }
    assert added["a_n00_asm_au_s0"].init == "au"


def test_single_rows_stand_beside_blocks_and_a_name_once():
    row = {"dataset": "a", "noise": "n00", "method": "scn", "seed": 7}
    found = profile(cells={"mine": row}).cells
    assert (found["mine"].init, found["mine"].seed, len(found)) == ("none", 7, 9)
    with pytest.raises(InputError, match=r"test profile: cells\.a_n30_asm_s0: there are two of this name"):
        profile(cells={"a_n30_asm_s0": row})


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"methods": "scnn"}, r"cells\.a_n00_scnn_s0\.method: 'scnn' is not among"),
        ({"methods": "asm", "settings": ["lage"]}, r"grid: settings: 'lage' is not among \['max', 'plain'"),
        ({"methods": "asm", "sweep": {"beta": [1.0]}}, r"grid\.1\.sweep"),
        ({"methods": []}, r"grid\.1\.methods: .*at least 1"),
        ({"method": "asm"}, r"grid\.1\.method: unknown key; known here: datasets"),
        ({"methods": "asm", "inits": "dlib"}, r"cells\.a_n00_asm_s0\.init: 'dlib' is not among"),
    ],
)
def test_a_fault_in_a_block_is_named(block, message):
    with pytest.raises(InputError, match=message):
        profile(block)


def test_a_profile_without_cells_is_refused():
    with pytest.raises(InputError, match="cells: there are none, neither as `grid` nor as `cells`"):
        profile(grid=[])


@pytest.mark.parametrize(
    ("noises", "methods", "title", "baseline", "asm"),
    [
        (["n00", "n30", "real"], ["asm", "baseline"], "30 % symmetric noise", "n30_baseline", "n30_asm"),
        (["n00", "real"], ["baseline", "asm"], "40 % original noise", "real_baseline", "real_asm"),
        (["n00"], ["baseline", "asm"], "0 % symmetric noise", "n00_baseline", "n00_asm"),
        (["n30"], ["scn", "asm"], "30 % symmetric noise", "n30_scn", "n30_asm"),
        (["n30"], ["scn", "rul"], "30 % symmetric noise", "n30_scn", "n30_scn"),
    ],
)
def test_what_is_drawn_is_asm_and_the_baseline_at_the_highest_noise(noises, methods, title, baseline, asm):
    block = {"datasets": ["b", "a"], "noises": noises, "methods": methods, "seeds": [1, 0]}
    late = {"datasets": "b", "noises": noises[-1], "methods": "asm", "settings": ["small"]}
    found = profile(grid=[late, block] if "asm" in methods else [block])
    headline = found.headline
    assert headline.title == f"FER+ (7 classes), {title}"
    assert (headline.baseline, headline.asm) == (f"b_{baseline}_s0", f"b_{asm}_s0")
    assert found.tsne == list(dict.fromkeys([headline.baseline, headline.asm]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tsne": ["x"]}, "tsne: there is no cell 'x'"),
        (
            {"headline": {"title": "t", "baseline": "x", "asm": "a_n30_asm_s0"}},
            "headline.baseline: there is no",
        ),
        ({"out_of_sample": ["x"]}, "out_of_sample: there is no cell 'x'"),
        (
            {"cells": {"x": {"dataset": "a", "noise": "n30", "method": "scn"}}, "out_of_sample": ["x"]},
            r"out_of_sample\.x: only baseline and asm are trained by folds, not scn",
        ),
    ],
)
def test_cells_that_are_named_exist(changes, message):
    with pytest.raises(InputError, match=message):
        profile(**changes)


# --- cells.yaml -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_cells_are_what_the_profile_says(name):
    """`make profiles` writes them anew."""
    path = ROOT / "profiles" / name / "profile.yaml"
    assert path.with_name("cells.yaml").read_text() == cells_text(load_profile(path), name)
    assert len(path.read_text().splitlines()) < 80


def test_cells_that_are_not_in_step_are_written_and_the_command_is_to_be_given_again(tmp_path):
    path = tmp_path / "mine" / "profile.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(CONTENT))
    with pytest.raises(InputError, match=r"mine/cells\.yaml: did not match profile\.yaml"):
        check_cells(path)
    check_cells(path)
    cells = yaml.safe_load(path.with_name("cells.yaml").read_text())
    assert (cells["name"], cells["input"]) == ("mine", "aligned")
    assert cells["datasets"] == {"a": {"root": "x"}, "b": {"root": "y"}}
    assert cells["cells"]["b_n30_asm_s1"] == {"dataset": "b", "noise": "n30", "init": "none"}
    # what DVC need not know changes nothing
    path.write_text(yaml.safe_dump(CONTENT | {"training": CONTENT["training"] | {"epochs": 9}}))
    assert not write_cells(path)
    path.write_text(yaml.safe_dump(CONTENT | {"seeds": [0], "tsne": ["a_n30_asm_s0"]}))
    assert write_cells(path)


# --- what the committed profiles hold ---------------------------------------------------------------------


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
        regime = {key: v for key, v in cell["changed"].items() if key.startswith(("training.", "optim"))}
        rule = {key: v for key, v in cell["changed"].items() if key not in regime}
        if regime.get("training.warmup_epochs") != 8:  # a longer warm-up is nothing to the others
            place = (cell["dataset"], cell["noise"], cell["seed"], str(sorted(regime.items())))
            regimes.setdefault(place, set()).add((cell["method"], str(rule)))
    assert len(regimes) == 3 * 3 * 5
    plain = {("baseline", "{}"), ("two_networks", "{}"), ("asm", "{}")}
    waits = {("asm", "{'losses.lambda_max': 0.0}"), ("waiting_asm", "{}")}
    for found in regimes.values():  # of our rules all, none, or those that differ from ASM there
        assert plain <= found <= plain | waits | {("fair_asm", "{}")}
        assert waits <= found or not waits & found


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
