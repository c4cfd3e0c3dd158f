"""params.yaml and profiles: what is refused and how it is named, and which cells a change touches."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tiny import PARAMS

from asm.basics import yaml as schema
from asm.basics.code import code_hash
from asm.basics.errors import InputError
from asm.grid import params
from asm.grid import resolve as grid
from asm.grid.params import METHODS, Params
from asm.grid.profile import Profile, load_profile, parse_profile

ROOT = Path(__file__).resolve().parents[1]
PROFILES = sorted(path.parent.name for path in ROOT.glob("profiles/*/profile.yaml"))
COMMITTED = yaml.safe_load((ROOT / "params.yaml").read_text())


def keys(content: dict, *above: str) -> Iterator[tuple[str, ...]]:
    """The paths of all keys, sections included; what `published` and `features.cells` hold is optional."""
    for key, value in content.items():
        yield (*above, key)
        if isinstance(value, dict) and key not in ("published", "cells"):
            yield from keys(value, *above, key)


def changed(values: dict) -> Params:
    """params.yaml with these keys of its sections changed."""
    return schema.parse(Params, merged(values), "params.yaml")


def merged(values: dict) -> dict:
    content = copy.deepcopy(COMMITTED)
    for name, section in values.items():
        known = content.get(name)
        content[name] = known | section if isinstance(known, dict) and isinstance(section, dict) else section
    return content


def profile_of(name: str) -> Profile:
    return load_profile(ROOT / "profiles" / name / "profile.yaml")


def test_the_committed_params_are_all_that_is_read():
    assert params.load_params(ROOT / "params.yaml").model_dump() == COMMITTED


@pytest.mark.parametrize("path", list(keys(COMMITTED)), ids=".".join)
def test_a_missing_key_is_named(path):
    """There is no default in the code, so nothing is run with a value that the file does not show."""
    content = copy.deepcopy(COMMITTED)
    section = content
    for part in path[:-1]:
        section = section[part]
    del section[path[-1]]
    with pytest.raises(InputError) as error:
        schema.parse(Params, content, "params.yaml")
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"params.yaml: {'.'.join(path)}: missing")


def test_the_committed_params_hold_no_anchor_alias_or_interpolation():
    """DVC's -S leaves aliased values unchanged without a word."""
    text = (ROOT / "params.yaml").read_text()
    lines = [line.split("#")[0] for line in text.splitlines()]
    assert not any(mark in line for line in lines for mark in ("&", "*", "${", "<<"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thresholds": {"init_claen": 0.7}}, "thresholds.init_claen: unknown key; known here: adaptive"),
        ({"tresholds": {}}, "tresholds: unknown key"),
        ({"losses": {"omega": "high"}}, "losses.omega: .*number.*found 'high'"),
        ({"thresholds": {"adaptive": 1}}, "thresholds.adaptive: .*boolean.*found 1"),
        ({"thresholds": {"init_clean": 1.5}}, "thresholds.init_clean: .*less than or equal to 1"),
        ({"thresholds": {"confidence": "mean"}}, "thresholds.confidence: .*'label' or 'max'.*found 'mean'"),
        ({"losses": {"replace_with_ce": ["all"]}}, r"losses.replace_with_ce.0: .*found 'all'"),
        ({"noise": {"seed": 1.5}}, "noise.seed: .*integer"),
        ({"noise": [1, 2]}, r"noise: .*found \[1, 2\]"),
        ({"published": {"ecn": {}}}, r"published\.ecn: not among the methods"),
        ({"optimizer": {"momentum": 1.0}}, r"optimizer\.momentum: .*less than 1"),
        ({"optimizer": {"late_momentum": 1.0}}, r"optimizer\.late_momentum: .*less than 1"),
        ({"optimizer": {"weight_decay": 1e300}}, r"optimizer\.weight_decay: .*less than or equal to 1000000"),
        ({"optimizer": {"lr": math.inf}}, r"optimizer\.lr: .*finite number"),
        ({"losses": {"gamma": math.nan}}, r"losses\.gamma: .*finite number"),
        ({"losses": {"ramp_end": 1e-300}}, r"losses\.ramp_end: .*greater than or equal to 0.000001"),
        ({"man": {"ramp_end": 1e-300}}, r"man\.ramp_end: .*greater than or equal to 0.000001"),
        ({"noise": {"seed": 2**63}}, r"noise\.seed: .*less than 9007199254740992"),
        ({"pretrain": {"seed": 2**63}}, r"pretrain\.seed: .*less than"),
        ({"features": {"seed": 2**63}}, r"features\.seed: .*less than"),
    ],
)
def test_bad_params_name_file_key_and_value(tmp_path, values, message):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(merged(values)))
    with pytest.raises(InputError, match=message) as error:
        params.load_params(path)
    (line,) = str(error.value).splitlines()  # of the fault alone
    assert line.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n- b", "expected a mapping of keys to values, found list"),
        ("", "expected a mapping of keys to values, found NoneType"),
        ("a: [", "not valid YAML"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_no_mapping_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(InputError, match=rf"params\.yaml: {message}"):
        params.load_params(tmp_path / "params.yaml")


def test_params_that_were_cut_are_noticed(tmp_path):
    """What is gone would have its default."""
    lines = (ROOT / "params.yaml").read_text().splitlines(keepends=True)
    for end in (*range(0, len(lines), 25), *range(len(lines) - 4, len(lines))):
        (tmp_path / "params.yaml").write_text("".join(lines[:end]))
        with pytest.raises(InputError, match=r"params\.yaml: "):
            params.load_params(tmp_path / "params.yaml")


def test_every_fault_is_listed_at_once():
    with pytest.raises(InputError) as error:
        changed({"optimizer": {"lr": -1.0}, "losses": {"gama": 1.0}})
    assert len(str(error.value).splitlines()) == 2
    assert all(key in str(error.value) for key in ("losses.gama", "optimizer.lr"))


@pytest.mark.parametrize("name", PROFILES)
def test_every_committed_profile_resolves(name):
    profile = profile_of(name)
    content = grid.grid(PARAMS, profile, name)
    assert content["profile"] == name
    assert [c["cell"] for c in content["cells"]] == list(profile.cells)


def small(**cells) -> dict:
    content = yaml.safe_load((ROOT / "profiles" / "smoke" / "profile.yaml").read_text())
    row = {"dataset": "synthetic", "noise": "n30", "init": "au", "seed": 0}
    content["cells"] = {
        "base": {**row, "method": "baseline"},
        "asm": {**row, "method": "asm"},
        **{key: {**row, "method": "asm", **extra} for key, extra in cells.items()},
    }
    del content["grid"], content["out_of_sample"]
    return content


def profile(**cells) -> Profile:
    return parse_profile(small(**cells), "test profile")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": {"dataset": "rafdb"}}, r"cells.x.dataset: 'rafdb' is not among \['synthetic'\]"),
        ({"x": {"noise": "n99"}}, "cells.x.noise: 'n99'"),
        ({"x": {"method": "scnn"}}, "cells.x.method: 'scnn' is not among .*'asm', 'baseline'"),
        ({"x": {"init": "imagenet"}}, "cells.x.init: 'imagenet'"),
        ({"x": {"seed": "zero"}}, "cells.x.seed: .*integer"),
        ({"asm": {"dataset": ["synthetic"]}}, "cells.asm.dataset: .*string"),
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
        ("noises", {"kind": "list", "path": "../x.txt"}, "'../x.txt' is not below data/raw/noise"),
        ("inits", {"weights": "msceleb"}, "path: missing"),
        (
            "inits",
            {"weights": "msceleb", "path": "/x.pth"},
            "path: the path '/x.pth' is not below data/raw/weights",
        ),
        ("inits", {"weights": "imagenet", "path": "data/raw/weights/x.pth"}, "path: .* leave that part out"),
        ("inits", {"weights": "synthetic", "epochs": 2}, "faces: missing"),
        ("inits", {"weights": "none", "faces": 2}, "faces: unknown key; known here: weights"),
        ("inits", {"weights": "vggface"}, r"weights: 'vggface' is not among \['dlib', 'imagenet', 'msceleb'"),
        ("datasets", {"source": "folder", "root": None}, "root: .*valid string .found None"),
        ("datasets", {"source": "folder"}, "root: missing"),
    ],
)
def test_incomplete_entries_are_named(section, entry, message):
    content = small()
    content[section]["new"] = entry
    with pytest.raises(InputError, match=rf"{section}\.new.*{message}"):
        parse_profile(content, "test profile")


def test_a_cells_set_must_name_a_section_its_method_reads():
    bad = profile(x={"method": "baseline", "set": {"losses": {"omega": 2.0}}})
    with pytest.raises(InputError, match=r"cells\.x\.set\.losses: method 'baseline' reads only"):
        grid.resolve_cell(PARAMS, bad, "x")
    bad = profile(x={"set": {"losses": {"omga": 2.0}}})
    with pytest.raises(InputError, match=r"losses\.omga: unknown key"):
        grid.resolve_cell(PARAMS, bad, "x")


def cell_files(values: dict, current: Profile, out: Path) -> dict[str, str]:
    grid.write_configs(changed(values), current, "test", out)
    return {path.stem: path.read_text() for path in (out / "train").iterdir()}


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


def test_each_stage_instance_gets_one_file_with_the_hash_of_its_code(tmp_path):
    current = profile()
    grid.write_configs(PARAMS, current, "test", tmp_path)
    found = {
        str(path.relative_to(tmp_path)): yaml.safe_load(path.read_text()) for path in tmp_path.rglob("*.yaml")
    }
    instances = {
        "align": current.datasets,
        "corrupt": current.noises,
        "init": current.inits,
        "render": current.render,
        "train": current.cells,
    }
    expected = {f"{stage}/{key}.yaml" for stage, keys in instances.items() for key in keys}
    assert set(found) == expected | {"evaluate.yaml", "tsne.yaml", "report.yaml"}
    for name, content in found.items():
        stage = name.removesuffix(".yaml").split("/")[0]
        assert content["code"] == code_hash(stage, content), name
    assert found["train/base.yaml"]["code"] != found["train/asm.yaml"]["code"]  # of its own method alone
    assert found["report.yaml"]["profile"] == "test"


def test_the_grid_says_what_each_cell_changed():
    current = profile(omega={"set": {"losses": {"omega": 2.0}}}, same={"set": {"losses": {"omega": 0.6}}})
    cells = {c["cell"]: c["changed"] for c in grid.grid(PARAMS, current, "test")["cells"]}
    assert cells == {"base": {}, "asm": {}, "omega": {"losses.omega": 2.0}, "same": {}}


def test_a_published_schedule_goes_over_the_common_one_and_under_the_cells_set():
    current = profile(
        own={"method": "eac", "schedule": "published"},
        own_set={"method": "eac", "schedule": "published", "set": {"optimizer": {"lr": 0.5}}},
        fair={"method": "eac"},
    )
    values = {"published": {"eac": {"optimizer": {"lr": 0.25}, "training": {"epochs": 7}}}}
    common = changed(values)
    own, own_set, fair = (grid.resolve_cell(common, current, key) for key in ("own", "own_set", "fair"))
    assert (own.optimizer.lr, own_set.optimizer.lr, fair.optimizer.lr) == (0.25, 0.5, PARAMS.optimizer.lr)
    assert (own.training.epochs, fair.training.epochs) == (7, current.training.epochs)
    assert own.training.width == current.training.width
    assert (own.schedule, fair.schedule) == ("published", "fair")
    cells = {c["cell"]: c for c in grid.grid(common, current, "test")["cells"]}
    assert cells["own"]["changed"] == {}  # its own schedule is this method's default there
    assert cells["own_set"]["changed"] == {"optimizer.lr": 0.5}
    assert cells["own"]["schedule"] == "published"


def test_a_data_sets_own_keys_reach_the_cells_that_read_them_and_count_as_default():
    content = small(eac={"method": "eac"}, own={"method": "eac", "set": {"eac": {"consistency_weight": 2.0}}})
    entry = content["datasets"]["synthetic"]
    entry["set"] = {"eac": {"consistency_weight": 1.0}, "sampling": {"balanced": True}}
    current = parse_profile(content, "test profile")
    cells = {key: grid.resolve_cell(PARAMS, current, key) for key in current.cells}
    assert cells["eac"].eac.consistency_weight == 1.0
    assert cells["own"].eac.consistency_weight == 2.0
    assert all(cell.sampling.balanced for cell in cells.values())
    changed = {c["cell"]: c["changed"] for c in grid.grid(PARAMS, current, "test")["cells"]}
    assert changed == {"base": {}, "asm": {}, "eac": {}, "own": {"eac.consistency_weight": 2.0}}
    entry["set"] = {"eca": {}}
    with pytest.raises(InputError, match=r"datasets\.synthetic\.set: no section \['eca'\]"):
        grid.resolve_cell(PARAMS, parse_profile(content, "test profile"), "base")


@pytest.mark.parametrize(
    ("noise", "schedule", "erasing"),
    [("n00", "published", "shared"), ("n30", "published", "separate"), ("n30", "fair", "shared")],
)
def test_a_published_schedule_may_differ_where_labels_are_wrong(noise, schedule, erasing):
    current = profile(x={"method": "eac", "noise": noise, "schedule": schedule})
    assert grid.resolve_cell(PARAMS, current, "x").eac.erasing == erasing


def test_every_published_schedule_is_valid_and_of_a_method_that_exists():
    assert set(PARAMS.published) == set(METHODS)
    for method in METHODS:
        current = profile(x={"method": method, "schedule": "published"})
        assert grid.resolve_cell(PARAMS, current, "x").schedule == "published"
    bad = changed({"published": {"eac": {"losses": {"omega": 1.0}}}})
    with pytest.raises(InputError, match=r"published\.eac\.losses: method 'eac' reads only"):
        grid.resolve_cell(bad, profile(x={"method": "eac", "schedule": "published"}), "x")


def test_a_forget_rate_that_is_not_given_is_the_cells_noise_rate():
    current = profile(
        plain={"method": "coteaching"}, own={"method": "jocor", "set": {"jocor": {"forget_rate": 0.1}}}
    )
    assert grid.resolve_cell(PARAMS, current, "plain").coteaching.forget_rate == 0.3
    assert grid.resolve_cell(PARAMS, current, "own").jocor.forget_rate == 0.1
    content = small(x={"method": "coteaching", "noise": "real"})
    content["noises"]["real"] = {"kind": "original"}
    unknown = parse_profile(content, "test profile")
    with pytest.raises(
        InputError, match=r"cells\.x: coteaching has to be told .* 'real' has no rate; add set"
    ):
        grid.resolve_cell(PARAMS, unknown, "x")
