"""params.yaml and profiles: what is refused and how it is named, and which cells a change touches."""

from pathlib import Path

import pytest
import yaml

from asm import grid, params, schema
from asm.errors import InputError
from asm.method_params import METHOD_SECTIONS

ROOT = Path(__file__).resolve().parents[1]
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


@pytest.fixture
def written(tmp_path):
    def write(content: str) -> Path:
        path = tmp_path / "params.yaml"
        path.write_text(content)
        return path

    return write


def test_the_committed_params_are_valid_and_spell_out_every_default():
    found = yaml.safe_load((ROOT / "params.yaml").read_text())
    del found["published"]  # schedules stand in params.yaml alone
    assert found == params.Params().model_dump(exclude={"published"})
    params.load_params(ROOT / "params.yaml")


def test_the_committed_params_hold_no_anchor_alias_or_interpolation():
    """DVC's -S leaves aliased values unchanged without a word."""
    text = (ROOT / "params.yaml").read_text()
    lines = [line.split("#")[0] for line in text.splitlines()]
    assert not any(mark in line for line in lines for mark in ("&", "*", "${", "<<"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("thresholds: {init_claen: 0.7}", "thresholds.init_claen: unknown key; known here: adaptive"),
        ("tresholds: {}", "tresholds: unknown key"),
        ("losses: {omega: high}", "losses.omega: .*number.*found 'high'"),
        ("thresholds: {adaptive: 1}", "thresholds.adaptive: .*boolean.*found 1"),
        ("thresholds: {init_clean: 1.5}", "thresholds.init_clean: .*less than or equal to 1"),
        ("thresholds: {confidence: mean}", "thresholds.confidence: .*'label' or 'max'.*found 'mean'"),
        ("losses: {replace_with_ce: [all]}", r"losses.replace_with_ce.0: .*found 'all'"),
        ("noise: {seed: 1.5}", "noise.seed: .*integer"),
        ("noise: [1, 2]", "noise: "),
        ("- a\n- b", "expected a mapping of keys to values, found list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_bad_params_name_file_key_and_value(written, content, message):
    with pytest.raises(InputError, match=message) as error:
        params.load_params(written(content))
    assert "params.yaml" in str(error.value)


def test_every_fault_is_listed_at_once(written):
    with pytest.raises(InputError, match=r"(?s)losses\.gama.*optimizer\.lr"):
        params.load_params(written("optimizer: {lr: -1}\nlosses: {gama: 1}"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"params\.yaml: no such file"):
        params.load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.stem)
def test_every_committed_profile_resolves(path):
    profile = params.load_profile(path)
    assert profile.profile == path.stem
    content = grid.grid(params.load_params(ROOT / "params.yaml"), profile)
    assert [c["cell"] for c in content["cells"]] == list(profile.cells)


def test_the_demo_stays_small_enough_for_dvc():
    demo = params.load_profile(ROOT / "profiles" / "demo.yaml")
    shared = 3 + len(demo.render) + len(demo.datasets) * (1 + len(demo.noises)) + len(demo.inits)
    assert shared + len(demo.tsne) + 2 * len(demo.cells) <= 70


def small(**cells) -> dict:
    content = yaml.safe_load((ROOT / "profiles" / "smoke.yaml").read_text())
    row = {"dataset": "synthetic", "noise": "n30", "init": "au", "seed": 0}
    content["cells"] = {
        "base": {**row, "method": "baseline"},
        "asm": {**row, "method": "asm"},
        **{key: {**row, "method": "asm", **extra} for key, extra in cells.items()},
    }
    content["tsne"] = ["asm"]
    content["headline"] = {"title": "t", "baseline": "base", "asm": "asm"}
    return content


def profile(**cells) -> params.Profile:
    return schema.parse(params.Profile, small(**cells), "test profile")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": {"dataset": "rafdb"}}, r"cells.x.dataset: 'rafdb' is not among \['synthetic'\]"),
        ({"x": {"noise": "n99"}}, "cells.x.noise: 'n99'"),
        ({"x": {"method": "scnn"}}, "cells.x.method: 'scnn' is not among .*'asm', 'baseline'"),
        ({"x": {"init": "imagenet"}}, "cells.x.init: 'imagenet'"),
        ({"x": {"seed": "zero"}}, "cells.x.seed: .*integer"),
        ({"x.y": {}}, "cells.x.y"),
    ],
)
def test_dangling_references_in_a_profile_are_named(change, message):
    with pytest.raises(InputError, match=message):
        profile(**change)


@pytest.mark.parametrize(
    ("section", "entry", "message"),
    [
        ("noises", {"kind": "symmetric"}, "needs a `rate`"),
        ("noises", {"kind": "list"}, "needs the `path`"),
        ("noises", {"kind": "symmetric", "rate": 1.0}, "less than 1"),
        ("inits", {"weights": "msceleb"}, "need the `path`"),
        ("inits", {"weights": "synthetic"}, "need the number of `faces`"),
    ],
)
def test_incomplete_entries_are_named(section, entry, message):
    content = small()
    content[section]["new"] = entry
    with pytest.raises(InputError, match=rf"{section}\.new.*{message}"):
        schema.parse(params.Profile, content, "test profile")


def test_a_cells_set_must_name_a_section_its_method_reads():
    bad = profile(x={"method": "baseline", "set": {"losses": {"omega": 2.0}}})
    with pytest.raises(InputError, match=r"cells\.x\.set\.losses: method 'baseline' reads only"):
        grid.resolve_cell(params.Params(), bad, "x")
    bad = profile(x={"set": {"losses": {"omga": 2.0}}})
    with pytest.raises(InputError, match=r"losses\.omga: unknown key"):
        grid.resolve_cell(params.Params(), bad, "x")


def cell_files(values: dict, current: params.Profile, out: Path) -> dict[str, str]:
    grid.write_configs(schema.parse(params.Params, values, "params.yaml"), current, out)
    return {path.stem: path.read_text() for path in (out / "cells").iterdir()}


@pytest.mark.parametrize(
    ("values", "touched"),
    [
        ({"thresholds": {"init_clean": 0.7}}, {"asm", "omega"}),
        ({"losses": {"omega": 2.0}}, {"asm", "fixed"}),
        ({"optimizer": {"lr": 0.01}}, {"base", "asm", "omega", "fixed"}),
        ({"noise": {"seed": 3}}, set()),
        ({"pretrain": {"seed": 3}}, set()),
        ({"scn": {"margin": 0.15}}, set()),
        ({"published": {"asm": {"optimizer": {"lr": 0.01}}}}, set()),  # all cells here are fair
    ],
)
def test_a_changed_key_touches_only_the_cells_that_read_it(tmp_path, values, touched):
    current = profile(
        omega={"set": {"losses": {"omega": 1.0}}}, fixed={"set": {"thresholds": {"init_clean": 0.95}}}
    )
    before = cell_files({}, current, tmp_path / "a")
    after = cell_files(values, current, tmp_path / "b")
    assert {key for key in before if before[key] != after[key]} == touched


def test_the_grid_says_what_each_cell_changed():
    current = profile(omega={"set": {"losses": {"omega": 2.0}}}, same={"set": {"losses": {"omega": 0.6}}})
    cells = {c["cell"]: c["changed"] for c in grid.grid(params.Params(), current)["cells"]}
    assert cells == {"base": {}, "asm": {}, "omega": {"losses.omega": 2.0}, "same": {}}


def test_a_published_schedule_goes_over_the_common_one_and_under_the_cells_set():
    current = profile(
        own={"method": "eac", "schedule": "published"},
        own_set={"method": "eac", "schedule": "published", "set": {"optimizer": {"lr": 0.5}}},
        fair={"method": "eac"},
    )
    values = {"published": {"eac": {"optimizer": {"lr": 0.25}, "training": {"epochs": 7}}}}
    common = schema.parse(params.Params, values, "params.yaml")
    own, own_set, fair = (grid.resolve_cell(common, current, key) for key in ("own", "own_set", "fair"))
    assert (own.optimizer.lr, own_set.optimizer.lr, fair.optimizer.lr) == (0.25, 0.5, 0.001)
    assert (own.training.epochs, fair.training.epochs) == (7, current.training.epochs)
    assert own.training.width == current.training.width
    assert (own.schedule, fair.schedule) == ("published", "fair")
    cells = {c["cell"]: c for c in grid.grid(common, current)["cells"]}
    assert cells["own"]["changed"] == {}  # its own schedule is this method's default there
    assert cells["own_set"]["changed"] == {"optimizer.lr": 0.5}
    assert cells["own"]["schedule"] == "published"


def test_a_data_sets_own_keys_reach_the_cells_that_read_them_and_count_as_default():
    content = small(eac={"method": "eac"}, own={"method": "eac", "set": {"eac": {"consistency_weight": 2.0}}})
    entry = content["datasets"]["synthetic"]
    entry["set"] = {"eac": {"consistency_weight": 1.0}, "sampling": {"balanced": True}}
    current = schema.parse(params.Profile, content, "test profile")
    cells = {key: grid.resolve_cell(params.Params(), current, key) for key in current.cells}
    assert cells["eac"].eac.consistency_weight == 1.0
    assert cells["own"].eac.consistency_weight == 2.0
    assert all(cell.sampling.balanced for cell in cells.values())
    changed = {c["cell"]: c["changed"] for c in grid.grid(params.Params(), current)["cells"]}
    assert changed == {"base": {}, "asm": {}, "eac": {}, "own": {"eac.consistency_weight": 2.0}}
    entry["set"] = {"eca": {}}
    with pytest.raises(InputError, match=r"datasets\.synthetic\.set: no section \['eca'\]"):
        grid.resolve_cell(params.Params(), schema.parse(params.Profile, content, "test profile"), "base")


def test_every_published_schedule_is_valid_and_of_a_method_that_exists():
    common = params.load_params(ROOT / "params.yaml")
    assert set(common.published) == set(METHOD_SECTIONS) - {"baseline", "asm"}
    for method in METHOD_SECTIONS:
        current = profile(x={"method": method, "schedule": "published"})
        assert grid.resolve_cell(common, current, "x").schedule == "published"
    with pytest.raises(InputError, match=r"published\.ecn: not among the methods"):
        schema.parse(params.Params, {"published": {"ecn": {}}}, "params.yaml")
    bad = schema.parse(params.Params, {"published": {"eac": {"losses": {"omega": 1.0}}}}, "params.yaml")
    with pytest.raises(InputError, match=r"published\.eac\.losses: method 'eac' reads only"):
        grid.resolve_cell(bad, profile(x={"method": "eac", "schedule": "published"}), "x")


def test_a_forget_rate_that_is_not_given_is_the_cells_noise_rate():
    current = profile(
        plain={"method": "coteaching"}, own={"method": "jocor", "set": {"jocor": {"forget_rate": 0.1}}}
    )
    assert grid.resolve_cell(params.Params(), current, "plain").coteaching.forget_rate == 0.3
    assert grid.resolve_cell(params.Params(), current, "own").jocor.forget_rate == 0.1
    content = small(x={"method": "coteaching", "noise": "real"})
    content["noises"]["real"] = {"kind": "original"}
    unknown = schema.parse(params.Profile, content, "test profile")
    with pytest.raises(
        InputError, match=r"cells\.x: coteaching has to be told .* 'real' has no rate; add set"
    ):
        grid.resolve_cell(params.Params(), unknown, "x")


@pytest.mark.parametrize("name", ["paper", "synthetic", "ferplus", "ferplus_gpu"])
def test_a_generated_profile_is_what_the_script_writes(name):
    scope: dict = {"__name__": "generate"}
    exec((ROOT / "profiles" / "generate.py").read_text(), scope)
    assert (ROOT / "profiles" / f"{name}.yaml").read_text() == scope["PROFILES"][name]()


@pytest.mark.parametrize("name", ["ferplus", "ferplus_gpu"])
def test_the_ferplus_profiles_hold_six_methods_under_symmetric_and_real_noise(name):
    profile = params.load_profile(ROOT / "profiles" / f"{name}.yaml")
    cells = {(c.dataset, c.noise, c.method, c.init, bool(c.set)) for c in profile.cells.values()}
    for place in (("ferplus", "n00"), ("ferplus", "n30"), ("ferplus7", "real")):
        for method in ("baseline", "scn", "rul", "eac", "man", "asm"):
            assert (*place, method, "au", False) in cells
    for noise in ("n10", "n20"):
        assert {("ferplus", noise, m, "au", False) for m in ("baseline", "asm")} <= cells
    assert ("ferplus7", "real", "asm", "au", True) in cells  # Eq. 3 as printed
    assert ("ferplus7", "real", "baseline", "scratch", False) in cells
    for method in ("baseline", "asm"):
        seeds = {c.seed for c in profile.cells.values() if (c.noise, c.method) == ("real", method)}
        assert len(seeds) > 1
    resolved = {cell: grid.resolve_cell(params.Params(), profile, cell) for cell in profile.cells}
    rates = {c.optimizer.lr_decay ** (c.training.epochs) for c in resolved.values()}
    assert max(rates) < 0.05  # the rate at the end, as a share of the first


def test_the_paper_profile_covers_every_published_ablation():
    published = yaml.safe_load((ROOT / "asm" / "report" / "paper.yaml").read_text())
    cells = grid.grid(params.Params(), params.load_profile(ROOT / "profiles" / "paper.yaml"))["cells"]
    default = {"beta": 0.65, "omega": 0.6, "gamma": 1.0}
    for key, curve in published["fig_s1"].items():
        found = {c["changed"].get(f"losses.{key}", default[key]) for c in cells if len(c["changed"]) <= 1}
        assert found >= {float(v) for v in curve}
    for row in published["s1"]:
        wanted = {
            k: v
            for k, v in (
                ("thresholds.adaptive", row["adaptive"]),
                ("thresholds.init_clean", row["init_clean"]),
                ("thresholds.init_noisy", row["init_noisy"]),
            )
            if v
            != {"thresholds.adaptive": True, "thresholds.init_clean": 0.8, "thresholds.init_noisy": 0.2}[k]
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
