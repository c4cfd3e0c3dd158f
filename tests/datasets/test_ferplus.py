import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_layouts import ten, write_label, write_new

from asm.basics.errors import InputError
from asm.datasets import ferplus, load

REAL = Path(
    os.environ.get("ASM_FERPLUS_LABELS", Path(__file__).resolve().parents[3] / "shared" / "data" / "ferplus")
)


# Usage, name, votes, FER2013's own id (anger disgust fear happiness sadness surprise neutral). The numbers in
# the names are no row numbers, one row has no name, and one name occurs twice.
ROWS = [
    *[("Training", f"fer{k:07d}.png", ten(**{c: 8, "unknown": 2}), 3) for k, c in enumerate(ferplus.CLASSES)],
    ("Training", "", ten(nf=10), 6),
    ("Training", "fer0000008.png", ten(anger=9, neutral=1), 0),
    ("Training", "fer0000008.png", ten(fear=10), 2),
    ("PublicTest", "fer0000020.png", ten(sadness=7, unknown=3), 4),
    ("PublicTest", "fer0000021.png", ten(sadness=4, neutral=4, fear=2), 6),
    ("PrivateTest", "fer0000030.png", ten(surprise=6, fear=4), 5),
    ("PrivateTest", "fer0000031.png", ten(nf=10), 5),
]


def write_kaggle(root: Path, rows=ROWS) -> None:
    """Row r's pixels are all r."""
    lines = [f"{emotion},{' '.join([str(r)] * 2304)},{row[0]}" for r, (*row, emotion) in enumerate(rows)]
    (root / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]) + "\n")


@pytest.fixture
def kaggle(tmp_path):
    write_new(tmp_path, ROWS)
    write_kaggle(tmp_path)
    return tmp_path


@pytest.fixture
def folders(tmp_path, picture):
    write_label(tmp_path, ROWS)
    for k, (usage, name, _, _) in enumerate(ROWS):
        if name:
            picture(tmp_path / ferplus.FOLDERS[ferplus.USAGES[usage]] / name, k)
    return tmp_path


# --- the rules --------------------------------------------------------------------------------------------


def test_any_takes_the_leading_expression_whatever_else_was_voted():
    votes = np.array([ten(anger=2, unknown=8), ten(sadness=1, nf=9), ten(nf=10), ten(neutral=5, happiness=5)])
    labels = ferplus.apply_rule(votes, "any").tolist()
    assert labels == [ferplus.CLASSES.index("anger"), ferplus.CLASSES.index("sadness"), -1, 0]


@pytest.mark.parametrize(
    ("votes", "majority", "probability", "argmax"),
    [
        (ten(neutral=8, fear=2), "neutral", "neutral", "neutral"),
        # S is 9 without fear's single vote: 4 is not above 4.5; 4 and 3 are at least 6.75.
        (ten(neutral=4, anger=3, disgust=2, fear=1), None, "neutral", "neutral"),
        # Single votes do not count: 5 of 5, not 5 of 10.
        (ten(fear=5, neutral=1, happiness=1, surprise=1, anger=1, disgust=1), "fear", "fear", "fear"),
        (ten(neutral=5, happiness=5), None, "neutral", "neutral"),  # exactly half; the first of two equals
        (ten(neutral=3, happiness=3, anger=2, fear=2), None, None, "neutral"),  # four entries taken
        (ten(neutral=6, unknown=4), "neutral", "neutral", "neutral"),
        (ten(neutral=5, sadness=2, unknown=3), None, None, "neutral"),  # taking stops at unknown with 5 of 10
        (ten(neutral=3, unknown=7), None, None, None),
        (ten(anger=5, unknown=5), None, None, "anger"),
        (ten(anger=4, nf=6), None, None, None),
        (ten(nf=10), None, None, None),
        (ten(**dict.fromkeys(ferplus.VOTES, 1)), None, None, "neutral"),  # nothing left without single votes
        # Three entries are taken though they hold 6 of 10, less than 3/4.
        (ten(anger=2, disgust=2, fear=2, neutral=4), None, None, "neutral"),
        (ten(anger=3, disgust=2, fear=1, neutral=4), None, "neutral", "neutral"),
    ],
)
def test_rules(votes, majority, probability, argmax):
    for rule, expected in (("majority", majority), ("probability", probability), ("argmax", argmax)):
        label = ferplus.apply_rule(np.array([votes]), rule)
        assert label.dtype == np.int64
        assert label.tolist() == [-1 if expected is None else ferplus.CLASSES.index(expected)], rule


def test_min_votes_moves_the_bound_of_outliers():
    votes = np.array(
        [ten(fear=5, neutral=1, happiness=1, surprise=1, anger=1, disgust=1), ten(anger=5, fear=4)]
    )
    fear, anger = ferplus.CLASSES.index("fear"), ferplus.CLASSES.index("anger")
    assert ferplus.apply_rule(votes, "majority", min_votes=1).tolist() == [-1, anger]
    assert ferplus.apply_rule(votes, "majority", min_votes=5).tolist() == [fear, anger]
    assert ferplus.apply_rule(votes, "majority", min_votes=6).tolist() == [-1, -1]


@pytest.mark.parametrize("options", [{"rule": "plurality"}, {"min_votes": 0}, {"min_votes": 2.0}])
def test_unknown_rule_and_bad_min_votes(options):
    with pytest.raises(InputError, match=f"{next(iter(options))}: expected"):
        ferplus.apply_rule(np.array([ten(neutral=10)]), **{"rule": "majority", **options})


# --- the layouts ------------------------------------------------------------------------------------------


def test_kaggle_joins_by_row_and_skips_unnamed_rows(kaggle):
    data = load("ferplus", kaggle)
    assert data.classes == ferplus.CLASSES
    assert data.table.id.tolist() == [
        *[f"fer{k:07d}" for k in range(8)], "fer0000008", "fer0000008#2", "fer0000020", "fer0000030",
    ]  # fmt: skip
    assert data.table.true.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 4, 6, 3, 2]
    assert data.table.split.tolist() == ["train"] * 11 + ["test"]
    rows = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13]
    assert [int(data.read(k)[0, 0]) for k in range(12)] == rows
    assert data.read(11).shape == (48, 48)
    assert data.read(11).dtype == np.uint8
    assert data.table.path[8] == "fer2013.csv:11"  # row 9 from 0, after a header, lines from 1
    # FER2013 anger, fear, sadness, surprise as FER+ ids; happiness is 1
    assert data.table.original_label.tolist() == [1] * 8 + [4, 6, 3, 2]
    votes = [f"votes_{name}" for name in ("anger", "neutral", "unknown", "nf")]
    assert data.table.loc[8, votes].tolist() == [9, 1, 0, 0]


def test_options_say_which_images_there_are(kaggle):
    apart = load("ferplus", kaggle, merge_valid=False)
    assert apart.table.split.tolist() == ["train"] * 10 + ["valid", "test"]
    seven = load("ferplus", kaggle, num_classes=7)
    assert seven.classes == ferplus.CLASSES[:7]
    assert "fer0000007" not in set(seven.table.id)
    assert len(seven.table) == 11
    more = load("ferplus", kaggle, rule="argmax").table
    assert more.set_index("id").true["fer0000021"] == 0  # four votes each: the first of the two classes
    assert len(more) == 13


def test_folders_use_their_label_csv_and_images_without_votes_are_named(folders, picture):
    data = load("ferplus", folders)
    assert data.table.id.tolist() == [f"fer{k:07d}" for k in (*range(9), 20, 30)]
    assert data.table.path[9] == "FER2013Valid/fer0000020.png"
    assert data.table.split.tolist() == ["train"] * 10 + ["test"]
    assert (data.read(9) == 11).all()
    assert (data.table.original_label == -1).all()
    assert data.left_out == {}
    picture(folders / "FER2013Valid" / "fer9999999.png", 1)
    assert load("ferplus", folders).left_out == {"FER2013Valid/fer9999999.png": "not in the votes"}


def test_folders_fall_back_on_fer2013new(folders):
    write_new(folders, ROWS)
    (folders / "FER2013Valid" / "label.csv").unlink()
    data = load("ferplus", folders)
    assert "fer0000008#2" in set(data.table.id)  # the second row of a name reads the same file
    assert (data.table.path == "FER2013Train/fer0000008.png").sum() == 2


def test_votes_can_be_chosen(folders):
    changed = [(u, n, ten(fear=10) if n == "fer0000000.png" else v, e) for u, n, v, e in ROWS]
    changed.append(("Training", "fer0000009.png", ten(neutral=10), 6))
    write_new(folders, changed)
    with pytest.raises(InputError, match=r"1 image\(s\) .*FER2013Train/fer0000009.png"):
        load("ferplus", folders, votes="fer2013new.csv")
    assert load("ferplus", folders, votes="label.csv").table.true[0] == 0
    table = ferplus.read_votes(folders, "fer2013new.csv")
    assert table.votes_fear[0] == 10


def test_folders_take_original_labels_from_fer2013_csv_beside_them(folders):
    write_new(folders, ROWS)
    write_kaggle(folders)
    data = load("ferplus", folders)
    assert data.table.original_label.tolist() == [1] * 8 + [4, 3, 2]
    assert data.table.path[0] == "FER2013Train/fer0000000.png"  # the images are still the folders'


def test_kaggle_uses_label_csv_beside_it(kaggle):
    changed = [(u, n, ten(fear=10) if n == "fer0000020.png" else v, e) for u, n, v, e in ROWS]
    write_label(kaggle, changed)
    data = load("ferplus", kaggle)
    table = data.table.set_index("id")
    assert table.true["fer0000020"] == ferplus.CLASSES.index("fear")
    assert "fer0000008#2" not in table.index
    assert (data.read(list(table.index).index("fer0000008")) == 9).all()  # the first row of the name
    assert load("ferplus", kaggle, votes="fer2013new.csv").table.set_index("id").true["fer0000020"] == 3


# --- what can be wrong ------------------------------------------------------------------------------------


def test_absent_files_are_named(tmp_path, folders):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"(?s)holds nothing.*FER2013Train/.*microsoft/FERPlus.*Kaggle"):
        load("ferplus", tmp_path / "empty")
    (folders / "FER2013Test" / "label.csv").unlink()
    with pytest.raises(InputError, match=r"no fer2013new.csv"):
        load("ferplus", folders)
    with pytest.raises(InputError, match=r"no FER2013Test/label.csv"):
        load("ferplus", folders, votes="label.csv")


def test_kaggle_without_names_and_bad_options(kaggle):
    for options, message in (
        ({"num_classes": 9}, "expected 7 or 8, found 9"),
        ({"votes": "new"}, "expected label.csv or fer2013new.csv"),
        ({"merge_valid": 1}, "merge_valid: expected true or false, found 1"),
    ):
        with pytest.raises(InputError, match=message):
            load("ferplus", kaggle, **options)
    write_label(kaggle, ROWS)
    (kaggle / "fer2013new.csv").unlink()
    with pytest.raises(InputError, match=r"fer2013.csv has no names: no fer2013new.csv"):
        load("ferplus", kaggle)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("fer2013new.csv", "Image name", "name", "fer2013new.csv: no column Image name"),
        ("fer2013new.csv", "fer0000003.png,0", "fer0000003.png,x", "row 5: .* neutral .* 'x'"),
        ("fer2013new.csv", "PublicTest,fer0000020", "Validation,fer0000020", "row 13: .*found 'Validation'"),
        ("fer2013.csv", "emotion,", "label,", "fer2013.csv: no column emotion"),
        ("fer2013.csv", "\n3,4 4", "\n7,4 4", "fer2013.csv, row 6: expected an emotion .* 0 to 6, found '7'"),
        ("fer2013.csv", "\n3,4 4", "\n3,4", "fer2013.csv, row 6: expected 2304 pixels 0 to 255, found 2303"),
        ("fer2013.csv", "\n3,4 4", "\n3,4 256", "fer2013.csv, row 6: expected 2304 pixels 0 to 255"),
        ("fer2013.csv", "\n3,4 4", "\n3,4 4x", "fer2013.csv, row 6: expected 2304 pixels 0 to 255"),
    ],
)
def test_a_bad_row_is_named(kaggle, file, old, new, message):
    text = (kaggle / file).read_text()
    assert old in text
    (kaggle / file).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load("ferplus", kaggle)


def test_kaggle_in_another_order_or_length_is_refused(kaggle):
    write_kaggle(kaggle, ROWS[::-1])
    with pytest.raises(
        InputError, match=r"row 2: expected Usage Training, as row 1 of fer2013new.csv has it"
    ):
        load("ferplus", kaggle)
    write_kaggle(kaggle, ROWS[:-1])
    with pytest.raises(InputError, match=r"expected 15 rows, as fer2013new.csv has, found 14"):
        load("ferplus", kaggle)


@pytest.mark.parametrize("votes", ["label.csv", "fer2013new.csv"])
@pytest.mark.parametrize("name", ["../a.png", "/a.png"])
def test_a_name_that_leads_elsewhere_is_refused(folders, votes, name):
    write_new(folders, ROWS)
    write = {"label.csv": write_label, "fer2013new.csv": write_new}[votes]
    write(folders, [*ROWS, ("PrivateTest", name, ten(fear=10), 0)])
    with pytest.raises(InputError, match=rf"{votes}, row \d+: .* found '{name}'\. The images must lie under"):
        load("ferplus", folders, votes=votes)


def test_label_csv_of_another_release_is_refused(kaggle):
    write_label(kaggle, [*ROWS, ("PrivateTest", "fer0000099.png", ten(fear=10), 0)])
    with pytest.raises(InputError, match=r"FER2013Test/label.csv, row 3: .* found 'fer0000099.png'"):
        load("ferplus", kaggle)


# --- the real label files ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    if not (REAL / "fer2013new.csv").is_file():
        pytest.skip(f"the FER+ label files are not at {REAL} (or ASM_FERPLUS_LABELS)")
    root = tmp_path_factory.mktemp("ferplus")
    for folder in ferplus.FOLDERS.values():
        (root / folder).mkdir()
        (root / folder / "label.csv").symlink_to(REAL / f"label_{folder}.csv")
    (root / "fer2013new.csv").symlink_to(REAL / "fer2013new.csv")
    return {votes: ferplus.read_votes(root, votes) for votes in ("label.csv", "fer2013new.csv")}


def labels_of(table: pd.DataFrame, rule: str) -> np.ndarray:
    return ferplus.apply_rule(table[[f"votes_{c}" for c in ferplus.VOTES]].to_numpy(), rule)


@pytest.mark.parametrize(
    ("votes", "rule", "train", "valid", "test"),
    [
        ("label.csv", "majority", 25045, 3191, 3137),
        ("fer2013new.csv", "majority", 25060, 3199, 3153),
        ("label.csv", "probability", 27947, 3508, 3507),
        ("fer2013new.csv", "probability", 27956, 3505, 3505),
        ("label.csv", "argmax", 28385, 3555, 3545),
        ("fer2013new.csv", "argmax", 28389, 3553, 3546),
        ("label.csv", "any", 28556, 3579, 3573),  # of 35,710 rows only two hold nothing but "no face"
    ],
)
def test_real_counts(real, votes, rule, train, valid, test):
    table = real[votes]
    kept = table.split[labels_of(table, rule) >= 0].value_counts()
    assert kept.to_dict() == {"train": train, "valid": valid, "test": test}


def test_real_rows_before_any_rule(real):
    assert real["label.csv"].split.value_counts().to_dict() == {"train": 28558, "valid": 3579, "test": 3573}
    new = real["fer2013new.csv"]
    assert len(new) == 35714
    twice = {"fer0008403#2", "fer0006953#2", "fer0011785#2", "fer0033120#2"}
    assert set(new.id[new.id.str.contains("#")]) == twice
    # The name's number is not the row: it lags by the rows without a name, and more.
    assert new.row[new.id == "fer0028638"].item() == 28709
    assert real["label.csv"].row.min() >= 0


def test_real_class_counts(real):
    table = real["label.csv"]
    labels = labels_of(table, "majority")
    test = (table.split == "test").to_numpy()
    trained = np.bincount(labels[~test & (labels >= 0)])
    assert trained.tolist() == [9913, 8146, 3547, 3370, 2387, 141, 596, 136]
    tested = np.bincount(labels[test & (labels >= 0)])
    assert tested.tolist() == [1083, 892, 394, 382, 269, 16, 86, 15]
    assert (trained.sum(), tested.sum()) == (28236, 3137)
    assert (trained[:7].sum(), tested[:7].sum()) == (28100, 3122)


def test_real_votes_of_the_two_files_differ_in_1602_rows(real):
    new = real["fer2013new.csv"]
    votes = [f"votes_{c}" for c in ferplus.VOTES]
    old = real["label.csv"].set_index("path").loc[new.path]
    differ = (old[votes].to_numpy() != new[votes].to_numpy()).any(axis=1)
    assert new.split[differ].value_counts().to_dict() == {"train": 1073, "valid": 246, "test": 283}
