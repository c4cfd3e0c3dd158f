import json
import math

import pytest
from made_up import read

from asm.basics.errors import InputError
from asm.grid.params import METHODS
from asm.report.cells import load_grid, paper
from asm.report.layout import estimate
from asm.report.names import in_order


@pytest.mark.parametrize(
    ("values", "mean", "half", "shown"),
    [
        # sd 2, t(0.975, 2) = 4.302653: 4.302653 * 2 / sqrt(3); sd 1 / sqrt(2), t(0.975, 1) = 12.706205
        ([80.0, 82.0, 84.0], 82.0, 4.968275, "82.00 ± 4.97"),
        ([80.0, 81.0], 80.5, 12.706205 / 2, "80.50 ± 6.35"),
        ([None, 71.234], 71.234, None, "71.23"),
    ],
)
def test_an_interval_is_students_t_by_hand_and_one_value_has_none(values, mean, half, shown):
    found = estimate(values)
    assert (found.mean, found.half) == (pytest.approx(mean), half and pytest.approx(half, abs=1e-5))
    assert str(found) == shown
    assert estimate([None]) is None


def test_missing_scores_file_is_blank_and_missing_directory_an_error(small, write, tmp_path):
    root = write(tmp_path, small, skip=("synthetic_n30_asm_s0",))
    loaded = read(root, small).grid
    blank = [c.cell for c in loaded.cells if c.scores is None]
    assert blank == ["synthetic_n30_asm_s0"]
    with pytest.raises(InputError, match="nowhere"):
        load_grid(root / "report.yaml", tmp_path / "nowhere", root / "timing")
    with pytest.raises(InputError, match=r"absent\.yaml: no such file"):
        load_grid(tmp_path / "absent.yaml", root / "scores", root / "timing")


def _spoil(change):
    def spoilt(scores):
        change(scores)
        return json.dumps(scores)

    return spoilt


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda d: "{not json", "the whole file: Invalid JSON"),
        (_spoil(lambda d: d.pop("test")), "test"),
        (_spoil(lambda d: d["test"]["accuracy"].update(last5=85.0)), r"test\.accuracy\.last5"),
        (_spoil(lambda d: d["test"]["accuracy"].update(last5=math.nan)), r"test\.accuracy\.last5"),
        (_spoil(lambda d: d.update(backbone="resnet18")), "'backbone' is of another version"),
        (_spoil(lambda d: d["mining"]["wrong_share"]["clean"].pop()), r"wrong_share\.clean has 8 values"),
        (_spoil(lambda d: d["curves"]["accuracy"].pop()), "accuracy has 11 values for 12 epochs"),
        (_spoil(lambda d: d["mining"]["noisy_f1"].pop()), "noisy_f1 has 8 values for 9 epochs"),
        (_spoil(lambda d: d["test"]["confusion"].pop()), "7 x 7"),
        (_spoil(lambda d: d["classes"].reverse()), "per_class does not name the classes in their order"),
        (_spoil(lambda d: d.update(seed=5)), "seed is 5, the grid says 0"),
        (_spoil(lambda d: d["noise"].update(rate=0.2)), r"noise\.rate is 0\.2, the grid says 0\.3"),
    ],
)
def test_malformed_scores_name_the_file_and_the_key(small, write, tmp_path, scores_of, spoil, expected):
    root = write(tmp_path, small)
    cell = small["cells"][-1]
    path = root / "scores" / f"{cell['cell']}.json"
    path.write_text(spoil(scores_of(cell, small)))
    with pytest.raises(InputError, match=expected) as error:
        read(root, small)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"noise": "n99"}, "noise 'n99' is not among"),
        ({"seed": "many"}, r"cells\.3\.seed"),
    ],
)
def test_a_wrong_grid_is_an_error(small, write, tmp_path, change, expected):
    root = write(tmp_path, small)
    small["cells"][3].update(change)
    with pytest.raises(InputError, match=expected):
        read(root, small)


def test_data_sets_noises_and_weights_come_in_the_order_of_the_cells(small, write, tmp_path):
    small["datasets"]["a_new"] = small["datasets"]["synthetic"]
    small["noises"]["a_new"] = small["noises"]["n30"]
    small["inits"]["a_new"] = small["inits"]["au"]
    extra = {"cell": "extra", "dataset": "a_new", "noise": "a_new", "init": "a_new"}
    small["cells"].append(small["cells"][-1] | extra)
    root = write(tmp_path, small)
    assert (root / "report.yaml").read_text().index("a_new:") < (root / "report.yaml").read_text().index(
        "au:"
    )
    found = read(root).grid
    assert list(found.datasets) == ["synthetic", "a_new"]
    assert list(found.noises) == ["n00", "n30", "a_new"]
    assert list(found.inits) == ["au", "a_new"]


def test_an_unknown_key_of_the_grid_is_an_error(small, write, tmp_path):
    root = write(tmp_path, small)
    with pytest.raises(InputError, match=r"report\.yaml: colour: Extra inputs are not permitted"):
        read(root, small | {"colour": "blue"})


def test_titles_are_the_methods_own_marked_and_the_papers_for_those_that_the_grid_lacks(
    small, write, tmp_path
):
    small["methods"] = {"baseline": {"title": "Base", "told_noise_rate": False, "ours": False}} | {
        "asm": {"title": "Ours", "told_noise_rate": False, "ours": False}
    }
    small["methods"]["two_networks"] = {"title": "Two", "told_noise_rate": False, "ours": False}
    small["methods"]["fair_asm"] = {"title": "Fair ASM", "told_noise_rate": False, "ours": True}
    loaded = read(write(tmp_path, small)).grid
    titles = [loaded.title(method) for method in ("baseline", "asm", "ran", "two_networks", "fair_asm")]
    assert titles == ["Base", "Ours", "RAN", "Two (control)", "Fair ASM (ours)"]


def test_the_paper_names_its_methods_as_their_files_do_and_they_come_first():
    assert {name: METHODS[name].title for name in paper()["methods"]} == paper()["methods"]
    assert in_order(["nct", "asm", "other", "eac", "asm"]) == ["eac", "asm", "nct", "other"]
