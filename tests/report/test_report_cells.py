import json
import math

import pytest

from asm.errors import InputError
from asm.report.cells import estimate, headlines, load, paper


def test_interval_is_students_t_by_hand():
    # 80, 82, 84: mean 82, sd 2, t(0.975, 2) = 4.302653, half-width 4.302653 * 2 / sqrt(3) = 4.968275
    found = estimate([80.0, 82.0, 84.0])
    assert found.mean == pytest.approx(82.0)
    assert found.half == pytest.approx(4.968275, abs=1e-6)
    assert str(found) == "82.00 ± 4.97 (3 seeds)"


def test_two_seeds_use_the_t_quantile_of_one_degree_of_freedom():
    # t(0.975, 1) = 12.706205; sd of 80 and 81 is 1 / sqrt(2); half-width 12.706205 / 2
    assert estimate([80.0, 81.0]).half == pytest.approx(12.706205 / 2, abs=1e-5)


def test_one_value_has_no_interval_and_none_are_skipped():
    one = estimate([None, 71.234])
    assert (one.half, one.n, str(one)) == (None, 1, "71.23")
    assert estimate([None]) is None


def test_cells_group_over_seeds_and_changes_are_compared_by_content(grid, write, tmp_path):
    grid["cells"][-1]["changed"] = {"losses.replace_with_ce": ["consistency", "mutual"]}
    grid["cells"][-1]["seed"] = 7
    root = write(tmp_path, grid)
    loaded = load(root / "grid.json", root / "details")
    group = loaded.group("synthetic", "n30", "asm", "au")
    assert [c.seed for c in group.cells] == [0, 1, 2]
    mixed = [g for g in loaded.groups() if len(g.changed.get("losses.replace_with_ce", [])) == 2]
    assert len(mixed) == 1  # the order of the list does not make another setting
    assert [c.seed for c in mixed[0].cells] == [0, 7]


def test_missing_details_file_is_blank_and_missing_directory_an_error(small, write, tmp_path):
    root = write(tmp_path, small, skip=("synthetic_n30_asm_s0",))
    loaded = load(small, root / "details")
    blank = [c.cell for c in loaded.cells if c.details is None]
    assert blank == ["synthetic_n30_asm_s0"]
    with pytest.raises(InputError, match="nowhere"):
        load(small, tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"absent\.json"):
        load(tmp_path / "absent.json", root / "details")


def _spoil(change):
    def spoilt(details):
        change(details)
        return json.dumps(details)

    return spoilt


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda d: "{not json", "not a JSON file"),
        (_spoil(lambda d: d.pop("test")), "test"),
        (_spoil(lambda d: d["test"]["accuracy"].update(last5=85.0)), r"test\.accuracy\.last5"),
        (_spoil(lambda d: d["test"]["accuracy"].update(last5=math.nan)), r"test\.accuracy\.last5"),
        (_spoil(lambda d: d["curves"]["accuracy"].pop()), "accuracy has 11 values for 12 epochs"),
        (_spoil(lambda d: d["mining"]["noisy_f1"].pop()), "noisy_f1 has 8 values for 9 epochs"),
        (_spoil(lambda d: d["test"]["confusion"].pop()), "7 x 7"),
        (_spoil(lambda d: d.update(seed=5)), "seed is 5, the grid says 0"),
    ],
)
def test_malformed_details_name_the_file_and_the_key(small, write, tmp_path, details_of, spoil, expected):
    root = write(tmp_path, small)
    cell = small["cells"][-1]
    path = root / "details" / f"{cell['cell']}.json"
    path.write_text(spoil(details_of(cell, small)))
    with pytest.raises(InputError, match=expected) as error:
        load(small, root / "details")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"noise": "n99"}, "noise 'n99' is not among"),
        ({"cell": "synthetic_n00_baseline_s0"}, "twice"),
        ({"seed": "many"}, r"cells\.3\.seed"),
    ],
)
def test_a_wrong_grid_is_an_error(small, write, tmp_path, change, expected):
    root = write(tmp_path, small)
    small["cells"][3].update(change)
    with pytest.raises(InputError, match=expected):
        load(small, root / "details")


def test_headline_is_the_highest_symmetric_rate_with_both_methods(small, write, tmp_path):
    small["noises"] |= {"n40": {"kind": "symmetric", "rate": 0.4}, "real": {"kind": "original", "rate": None}}
    for noise, method in (("n40", "asm"), ("real", "asm"), ("real", "baseline")):
        row = {
            "dataset": "synthetic",
            "noise": noise,
            "method": method,
            "seed": 0,
            "init": "au",
            "changed": {},
        }
        small["cells"].append({"cell": f"{noise}_{method}", **row})
    root = write(tmp_path, small)
    head = headlines(load(small, root / "details"))
    assert [(h.dataset, h.noise) for h in head] == [("synthetic", "n30")]  # n40 has no baseline
    (root / "details" / "synthetic_n30_baseline_s0.json").unlink()
    assert headlines(load(small, root / "details"))[0].noise == "n00"


def test_published_numbers():
    table = paper()
    assert table["table1"]["asm"][0.3] == {"rafdb": 85.66, "ferplus": 86.69, "affectnet8": 59.75}
    assert [row["rafdb"] for row in table["table2"]] == [87.25, 88.63, 89.47, 89.72, 90.58]
