"""Profiles whose input are features of a frozen backbone: what is refused, and what each stage is told."""

import copy
from pathlib import Path

import pytest
import yaml
from tiny import PARAMS

from asm.basics import yaml as schema
from asm.basics.errors import InputError
from asm.grid import resolve as grid
from asm.grid.params import METHODS
from asm.grid.profile import Profile, load_profile, parse_profile
from asm.methods.config import Training
from asm.training.features import Features

CONTENT = yaml.safe_load("""
training:
  {input: features, image_size: 112, backbone: dlib29, width: 32, hidden: 64, dropout: 0.25, epochs: 3,
   warmup_epochs: 1, batch_size: 8}
render:
  synthetic: {train: 28, valid: 7, test: 14}
frozen: {synthetic: dlib}
datasets:
  synthetic: {source: synthetic, root: data/rendered/synthetic}
noises:
  n30: {kind: symmetric, rate: 0.3}
inits:
  dlib: {weights: dlib}
  none: {weights: none}
cells:
  base: {dataset: synthetic, noise: n30, method: baseline}
  asm: {dataset: synthetic, noise: n30, method: asm}
""")


def merged(content: dict, changes: dict) -> dict:
    """`changes` written over `content`, at any depth."""
    found = copy.deepcopy(content)
    for key, value in changes.items():
        known = found.get(key)
        found[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return found


def profile(**changes) -> Profile:
    return parse_profile(merged(CONTENT, changes), "test profile")


def refused(message: str, **changes) -> None:
    """At the latest when its cells are resolved."""
    with pytest.raises(InputError, match=message):
        grid.grid(PARAMS, profile(**changes), "test")


def test_every_method_but_ran_can_be_a_cell():
    for method in METHODS:
        change = {"cells": {"x": {**CONTENT["cells"]["asm"], "method": method}}}
        if method == "ran":
            message = r"cells\.x: method 'ran' crops regions of the image; training\.input is 'features'"
            refused(message, **change)
        else:
            training = grid.resolve_cell(PARAMS, profile(**change), "x").training
            assert (training.input, training.hidden, training.dropout) == ("features", 64, 0.25)


def test_a_published_schedule_is_refused_in_a_cell_and_in_the_profile():
    message = r"cells\.\w+: `schedule: published` has views of its own"
    refused(message, cells={"x": {**CONTENT["cells"]["asm"], "schedule": "published"}})
    refused(message, schedule="published")
    cells = {key: {"schedule": "fair"} for key in CONTENT["cells"]}
    grid.grid(PARAMS, profile(schedule="published", cells=cells), "test")


@pytest.mark.parametrize("section", [{"augment": {"flip": 0.0}}, {"strong_augment": {"magnitude": 3}}])
def test_views_of_a_cell_or_a_data_set_of_its_own_are_refused(section):
    message = rf"\['{next(iter(section))}'\] cannot be set here: with training\.input 'features' the views"
    refused(rf"cells\.asm: {message}", cells={"asm": {"set": section}})
    refused(message, datasets={"synthetic": {"set": section}})


def test_what_is_the_whole_profiles_is_no_cells():
    for key, value in (("input", "aligned"), ("image_size", 80), ("backbone", "resnet18"), ("width", 16)):
        own = {key: value, "hidden": None, "dropout": 0.0} if key == "input" else {key: value}
        message = rf"cells\.asm: training\.{key} belongs to the whole profile; a cell cannot set it"
        refused(message, cells={"asm": {"set": {"training": own}}})
    found = profile(cells={"asm": {"set": {"training": {"hidden": 7, "dropout": 0.0}}}})
    assert grid.resolve_cell(PARAMS, found, "asm").training.hidden == 7
    assert grid.changed_keys(PARAMS, found, "asm") == {"training.hidden": 7, "training.dropout": 0.0}


def test_a_frozen_backbone_belongs_to_its_input_and_only_there():
    message = r"`frozen` \(data set: init\) belongs to training\.input 'features', and only there"
    refused(
        message, frozen={"synthetic": "dlib"}, training={"input": "aligned", "hidden": None, "dropout": 0.0}
    )


def test_the_frozen_backbone_need_not_be_named_where_there_is_one():
    content = copy.deepcopy(CONTENT)
    del content["frozen"]
    with pytest.raises(InputError, match=r"frozen: missing; name one of the inits \['dlib', 'none'\]"):
        parse_profile(content, "test profile")
    del content["inits"]["none"]
    assert parse_profile(content, "test profile").frozen == {"synthetic": "dlib"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen": {"rafdb": "dlib"}}, r"frozen\.rafdb: no such data set, or no init 'dlib'"),
        ({"frozen": {"synthetic": "au"}}, r"frozen\.synthetic: no such data set, or no init 'au'"),
        ({"cells": {"asm": {"init": "none"}}}, r"cells\.asm: there are no features of 'synthetic' by 'none'"),
        (
            {
                "datasets": {"other": CONTENT["datasets"]["synthetic"]},
                "cells": {"asm": {"dataset": "other", "init": "dlib"}},
            },
            r"cells\.asm: there are no features of 'other' by 'dlib'",
        ),
        (
            {"training": {"width": 16}},
            r"inits\.dlib: weights 'dlib' need training\.backbone dlib29 and training\.width 32",
        ),
        ({"training": {"backbone": "resnet18"}}, r"inits\.dlib: weights 'dlib' need"),
        ({"training": {"image_size": 48}}, r"training\.image_size: dlib29 needs images of 56 pixels"),
        ({"inits": {"dlib": {"path": "/tmp/x.dat"}}}, "not below data/raw/weights"),
    ],
)
def test_what_does_not_fit_together_is_named(changes, message):
    refused(message, **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": None}, "needs the number of `hidden` units"),
        ({"input": "aligned"}, "`hidden` and `dropout` are those of heads on features"),
        ({"input": "aligned", "hidden": None}, "`hidden` and `dropout` are those of heads on features"),
        ({"dropout": 1.0}, "dropout: .*less than 1"),
        ({"input": "pixels"}, "input: .*'aligned' or 'features'"),
    ],
)
def test_heads_have_hidden_units_and_networks_have_none(change, message):
    with pytest.raises(InputError, match=message):
        schema.parse(Training, CONTENT["training"] | change, "test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": 3}, "views: .*multiple of 2"),
        ({"views": 0}, "views: .*greater than or equal to 2"),
        ({"components": 0}, "components: .*greater"),
        ({"cells": {}}, "cells: .*at least 1"),
        ({"cells": {2: 0}}, "cells.*greater"),
        ({"cells": {0: 2}}, "cells.*greater"),
    ],
)
def test_a_bank_that_cannot_be_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        schema.parse(Features, PARAMS.features.model_dump() | change, "params.yaml: features")


def written(params, current: Profile, out: Path) -> dict[str, str]:
    grid.write_configs(params, current, "test", out)
    return {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.yaml")}


def test_the_features_stage_is_told_what_it_reads(tmp_path):
    current = profile()
    files = written(PARAMS, current, tmp_path / "a")
    content = yaml.safe_load(files["features/synthetic.yaml"])
    assert content.pop("code")
    assert content == {
        "backbone": "dlib29",
        "width": 32,
        "init": "dlib",
        **{key: getattr(PARAMS, key).model_dump() for key in ("features", "augment", "strong_augment")},
    }
    init = yaml.safe_load(files["init/dlib.yaml"])
    assert init.pop("code")
    network = {"backbone": "dlib29", "width": 32, "image_size": 112}
    assert init == {"weights": "dlib", "network": network}

    def touched(key: str, **changes) -> set[str]:
        section = getattr(PARAMS, key).model_copy(update=changes)
        after = written(PARAMS.model_copy(update={key: section}), current, tmp_path / "b")
        return {name for name in files if files[name] != after[name]}

    # of what makes the bank, the cells know nothing but through the bank itself
    assert touched("features", components=10) == {"features/synthetic.yaml"}
    assert {"features/synthetic.yaml"} < touched("strong_augment", magnitude=3)
    assert touched("thresholds", init_clean=0.5) == {"train/asm.yaml", "report.yaml"}


def test_without_features_the_stage_has_no_instance(tmp_path):
    smoke = load_profile(Path(__file__).parents[1] / "profiles" / "smoke" / "profile.yaml")
    files = written(PARAMS, smoke, tmp_path)
    assert not any(name.startswith("features") for name in files)
