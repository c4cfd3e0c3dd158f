import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare

from asm.basics.errors import InputError
from asm.datasets import noise

FER = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
SEVEN = FER[:7]

settings.register_profile("noise", deadline=None, max_examples=60)
quick = settings.get_profile("noise")


@st.composite
def labelled(draw):
    """Labels, and the names of their classes."""
    classes = FER[: draw(st.integers(2, 8))]
    return draw(arrays(np.int64, st.integers(0, 200), elements=st.integers(0, len(classes) - 1))), classes


rates = st.floats(0, 0.999)
seeds = st.integers(0, 2**32 - 1)


def flip(labels, classes=SEVEN, rate=0.3, seed=0) -> np.ndarray:
    """With symmetric noise."""
    return noise.corrupt(np.asarray(labels), classes, kind="symmetric", rate=rate, seed=seed)


# --- corrupt ----------------------------------------------------------------------------------------------


@quick
@hypothesis.given(labelled(), rates, seeds)
def test_noise_is_a_function_of_its_arguments_and_leaves_the_true_labels_alone(data, rate, seed):
    labels, classes = data
    before = labels.copy()
    given = flip(labels, classes, rate, seed)
    assert (labels == before).all()
    assert (given == flip(labels, classes, rate, seed)).all()
    assert given.dtype == np.int64
    assert ((given >= 0) & (given < len(classes))).all()
    assert (flip(labels, classes, 0.0, seed) == labels).all()


@quick
@hypothesis.given(arrays(np.int64, st.integers(0, 200), elements=st.integers(0, 7)), rates, seeds)
def test_asymmetric_noise_only_takes_the_pair(labels, rate, seed):
    given = noise.corrupt(labels, FER, kind="asymmetric", rate=rate, seed=seed)
    changed = given != labels
    partner = np.array([FER.index(noise.FER_PAIRS[c]) for c in FER])
    assert (given[changed] == partner[labels[changed]]).all()
    # the same faces as with symmetric noise: every expression has a pair
    assert (changed == (flip(labels, FER, rate, seed) != labels)).all()


def test_seeds_differ():
    labels = np.zeros(1000, np.int64)
    assert (flip(labels, seed=0) != flip(labels, seed=1)).any()


def test_the_draw_is_pinned():
    """Fixed values: another draw would silently change every corrupted data set."""
    rng = np.random.Generator(np.random.PCG64(0))
    assert np.flatnonzero(rng.random(12) < 0.5).tolist() == [1, 2, 3, 11]
    assert flip(np.arange(12) % 3, FER[:3], 0.5).tolist() == [0, 2, 1, 2, 1, 2, 0, 1, 2, 0, 1, 0]


def test_symmetric_noise_is_uniform_over_the_other_classes():
    labels = np.repeat(np.arange(7), 20_000)
    given = flip(labels, seed=3)
    for k in range(7):
        counts = np.bincount(given[labels == k], minlength=7)
        assert chisquare(np.delete(counts, k)).pvalue > 1e-3
    wrong = [(given[labels == k] != k).sum() for k in range(7)]
    assert chisquare(wrong).pvalue > 1e-3  # no class is hit more than another


def test_the_number_of_wrong_labels_varies_as_the_binomial():
    n, rate = 20_000, 0.2
    wrong = [(flip(np.zeros(n, np.int64), rate=rate, seed=s) != 0).sum() for s in range(50)]
    sd = np.sqrt(n * rate * (1 - rate))
    assert abs(np.mean(wrong) - n * rate) < 4 * sd / np.sqrt(50)
    assert 0.6 * sd < np.std(wrong) < 1.5 * sd


@pytest.mark.parametrize(
    ("classes", "pairs", "becomes"),
    [
        ("abc", {"a": "c", "c": "b"}, {0: {0, 2}, 1: {1}, 2: {1, 2}}),
        # a default partner that is absent leaves the class alone: anger's is disgust
        (("fear", "surprise", "anger"), None, {0: {0, 1}, 1: {0, 1}, 2: {2}}),
    ],
)
def test_only_a_class_with_a_pair_changes(classes, pairs, becomes):
    labels = np.repeat([0, 1, 2], 100)
    given = noise.corrupt(labels, tuple(classes), kind="asymmetric", rate=0.5, seed=0, pairs=pairs)
    assert {k: set(given[labels == k].tolist()) for k in range(3)} == becomes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pairflip"}, "unknown kind 'pairflip'; drawn .* symmetric, asymmetric, read ones list"),
        ({"rate": 1.0}, "from 0 to below 1, found 1.0"),
        ({"rate": -0.1}, "found -0.1"),
        ({"rate": float("nan")}, "found nan"),
        ({"classes": ("a",)}, "two or more classes, found 1"),
        ({"classes": ("a", "b")}, "expected labels 0 to 1, found 0 to 2"),
        ({"true": np.array([0.0, 1.0])}, "expected whole numbers .* found float64"),
        ({"true": np.array([[0, 1]])}, r"found int64 \[1, 2\]"),
        ({"kind": "asymmetric"}, "no default pair is among the classes a, b, c"),
        ({"kind": "asymmetric", "pairs": {"a": "d"}}, "'d' is not among"),
        ({"kind": "asymmetric", "pairs": {"a": "a"}}, "'a' is paired with itself"),
    ],
)  # fmt: skip
def test_corrupt_refuses(options, message):
    arguments = {"true": np.array([0, 1, 2]), "classes": ("a", "b", "c"), "kind": "symmetric", "rate": 0.1}
    with pytest.raises(InputError, match=message):
        noise.corrupt(**{"seed": 0, **arguments, **options})


# --- from_list --------------------------------------------------------------------------------------------

IDS = ["train_00001", "train_00002", "train_00003"]
TRUE = np.array([4, 0, 6])


def read(tmp_path, text: str, ids=IDS, true=TRUE, classes=SEVEN, **options) -> list[int]:
    (tmp_path / "noise01.txt").write_text(text)
    return noise.from_list(tmp_path / "noise01.txt", ids, true, classes, **options).tolist()


PATHS = (
    "/d/raf/train_00001_aligned.jpg 2\n/d/raf/train_00002_aligned.jpg 0\n/d/raf/train_00003_aligned.jpg 6\n"
)
OF_FOLDERS = "/d/sad/1.jpg 2\n/d/fear/1.jpg 1\n/d/fear/2.jpg 7\n"
IN_FOLDERS = ["train/fear/1.jpg", "train/sad/1.jpg", "train/fear/2.jpg"]
NEITHER_END = "train_00001.jpg {}\ntrain_00002.jpg {}\ntrain_00003.jpg {}\n".format


@pytest.mark.parametrize(
    ("text", "ids", "true", "expected"),
    [
        ("train_00002.jpg 1\ntrain_00001.jpg 3\ntrain_00003.jpg 7", IDS, [4, 0, 6], [2, 0, 6]),
        (PATHS, IDS, [4, 0, 6], [2, 0, 6]),
        (PATHS.replace("/", "\\"), IDS, [4, 0, 6], [2, 0, 6]),
        (NEITHER_END(2, 3, 5), IDS, [2, 3, 4], [2, 3, 5]),  # from 0: agrees with more
        (NEITHER_END(3, 4, 6), IDS, [2, 3, 4], [2, 3, 5]),  # from 1
        (NEITHER_END(5, 1, 7) + "test_0001.jpg 2\n", IDS, [4, 0, 6], [4, 0, 6]),  # it may hold more
        (OF_FOLDERS, IN_FOLDERS, [0, 1, 6], [0, 1, 6]),
        (OF_FOLDERS[3:].replace("/d/", "").replace("/", "\\"), IN_FOLDERS, [0, 1, 6], [0, 1, 6]),
        ("a.jpg 1\nb.jpg 7\n", ["sad/b.png", "fear/a.png"], [6, 0], [6, 0]),
        ("caf\u00e9.jpg 1\nb.jpg 7\n", ["cafe\u0301.jpg", "b.jpg"], [0, 6], [0, 6]),  # either form of Unicode
        ("my photo 2.jpg 1\nb.c.jpg 7\n", ["my photo 2.jpg", "b.c"], [0, 6], [0, 6]),
        ("fer00.png 4\nfer01.png 7\n", ["fer01", "fer00#2"], [6, 0], [6, 3]),  # the only sample of its name
    ],
)  # fmt: skip
def test_a_list_in_any_form_is_joined_by_name(tmp_path, text, ids, true, expected):
    assert read(tmp_path, text, ids, np.array(true)) == expected


NUMBERS = tuple(map(str, range(1, 12)))


@pytest.mark.parametrize(
    ("classes", "labels", "expected"),
    [
        (SEVEN, ["anger", "fear", "neutral"], [4, 6, 0]),
        (NUMBERS, ["2", "1", "11"], [1, 0, 10]),  # the folders' own numbers, by value
        (NUMBERS, ["02", "01", "11"], [1, 0, 10]),
        (NUMBERS, ["1", "0", "10"], [1, 0, 10]),  # 0 is no folder: places, from 0
        (("2", "4", "10"), ["4", "2", "10"], [1, 0, 2]),  # names, though no places
        (("2", "4", "10"), ["2", "1", "3"], [1, 0, 2]),  # 1 is no name: places, from 1
        (("0", "1", "2"), ["2", "1", "3"], [1, 0, 2]),  # 3 is no name
        (("0", "1", "2"), ["2", "1", "2"], [1, 0, 1]),  # all are names, but places from 1 agree with more
    ],
)
def test_labels_are_names_or_places_whichever_suits_all_rows(tmp_path, classes, labels, expected):
    """Without noise, and with one wrong label of four."""
    rows = "".join(f"{k}.jpg {value}\n" for k, value in enumerate([*labels, labels[0]]))
    ids = [f"{k}.jpg" for k in range(4)]
    for true in ([*expected, expected[0]], [*expected, expected[1]]):
        assert read(tmp_path, rows, ids, np.array(true), classes) == [*expected, expected[0]]


def test_numbers_are_places_where_their_base_is_given(tmp_path):
    rows = "a.jpg 2\nb.jpg 1\n"
    assert read(tmp_path, rows, ["a", "b"], np.array([1, 0]), ("1", "2", "3"), base=0) == [2, 1]
    assert read(tmp_path, NEITHER_END(3, 4, 6), true=np.array([2, 3, 4]), base=0) == [3, 4, 6]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["fer01", "fer00", "fer00#2"], [6, 3, 0]),
        (["fer01", "fer00#2"], [6, 0]),  # the first of the two is no training sample
        (["fer01", "x/fer00.png", "x/fer00.png#2"], [6, 3, 0]),
    ],
)
@pytest.mark.parametrize("second", ["fer00.png", "fer00#2.png", "fer00#2"])
def test_a_name_of_two_samples_is_given_twice_or_with_its_number(tmp_path, ids, expected, second):
    text = f"fer00.png 4\nfer01.png 7\n{second} 1\n"
    assert read(tmp_path, text, ids, np.zeros(len(ids), int), base=1) == expected


def test_samples_of_one_name_are_counted_not_sorted_as_text(tmp_path):
    """In whatever order the samples come: #2 is the second row, #10 the tenth."""
    ids = [f"f#{k}" for k in (10, 3, 2, 11, 9, 8, 7, 6, 5, 4)] + ["f"]
    rows = "".join(f"f.png {k}\n" for k in range(1, 12))
    expected = [9, 2, 1, 10, 8, 7, 6, 5, 4, 3, 0]
    assert read(tmp_path, rows, ids, np.array(expected), NUMBERS) == expected


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("train_00001.jpg 5\nother.jpg 7\n", {}, "3 training samples, but 2 are not in the list: "
         "train_00002, train_00003; 1 of its names are no training samples: other"),
        ("train_00001.jpg 5\ntrain_00002.jpg\n", {}, "row 2: expected '<file name> <label>'"),
        ("train_00001.jpg 8\n", {}, "row 1: expected a label as a whole number 0 to 7, found '8'"),
        ("train_00001.jpg 0\ntrain_00002.jpg 7\n", {}, "row 2: the label 7 is too large for 7 classes"),
        ("train_00001.jpg 7\n", {"base": 0}, "row 1: expected a label as a whole number 0 to 6, found '7'"),
        ("train_00001.jpg 0\n", {"base": 1}, "row 1: expected a label as a whole number 1 to 7, found '0'"),
        ("train_00001.jpg 1\nx/train_00001.jpg 2\n", {}, "row 2: 'train_00001' had another label in row 1"),
        ("a.jpg 1\n", {"ids": ["x/a.jpg", "y/a.jpg"], "true": np.array([0, 0])},
         "2 are not in the list: x/a.jpg, y/a.jpg; 1 .*: a. .* in several folders: write .* as in 'x/a'"),
        ("a.jpg 1\n", {"ids": ["a.jpg", "a.png"], "true": np.array([0, 0])}, "in their suffix alone: a."),
        ("f 1\n", {"ids": ["f", "f#2"], "true": np.array([0, 0])},
         "list: f#2. .* given twice, .* or with its #2"),
        ("train_00001.jpg 1 2\n", {}, "row 1: .*, found 3 words: 'train_00001.jpg 1 2'. Keep .* of "
         "'<name> <noisy> <clean>' the first two words, 'train_00001.jpg 1'"),
        ("train_00001 0.9 1\n", {}, "row 1: .*found 3 words"),
        ("train_00001.jpg fear\ntrain_00002.jpg gear\n", {}, "row 2: .* class among .*'gear'"),
        ("train_00001.jpg gear\n", {}, "row 1: expected a label as a whole number 0 to 7, found 'gear'"),
    ],
)  # fmt: skip
def test_list_refuses(tmp_path, text, options, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text, **options)


# --- given_labels, original, describe ---------------------------------------------------------------------


def test_given_labels_are_those_of_the_configured_kind(tmp_path):
    train = pd.DataFrame(
        {"id": ["a", "b", "c"], "true": [0, 1, 1], "original_label": [1, -1, 0]}, index=[3, 5, 6]
    )
    (tmp_path / "list.txt").write_text("c no\nb yes\na yes\n")

    def given(**config) -> list[int]:
        return noise.given_labels(train, ["no", "yes"], config, tmp_path).tolist()

    assert given(kind="list", path="list.txt") == [1, 1, 0]
    assert given(kind="list", path="list.txt", seed=3) == [1, 1, 0]
    assert given(kind="original") == [1, -1, 0]
    drawn = {"kind": "asymmetric", "rate": 0.9, "pairs": {"no": "yes"}}
    assert (
        given(**drawn, seed=1) == noise.corrupt(np.array([0, 1, 1]), ["no", "yes"], **drawn, seed=1).tolist()
    )
    with pytest.raises(InputError, match=r"away\.txt: no such file; put the list"):
        given(kind="list", path="away.txt")
    del train["original_label"]
    with pytest.raises(InputError, match="holds no second annotator's labels"):
        given(kind="original")


def test_original_labels_replace_the_true_ones():
    true, other = np.array([0, 1, 2]), np.array([2, -1, 2])
    labels = noise.original(true, other)
    assert labels.tolist() == [2, -1, 2]
    labels[0] = 0
    assert other[0] == 2  # a copy


def test_original_labels_must_exist():
    with pytest.raises(InputError, match=r"knows no original label .* fer2013.csv"):
        noise.original(np.array([0, 1]), np.array([-1, -1]))
    with pytest.raises(InputError, match="2 labels, but 1 original"):
        noise.original(np.array([0, 1]), np.array([1]))


def test_describe_by_hand():
    true = np.array([0, 0, 0, 0, 1, 1, 1])
    given = np.array([0, 1, 1, 0, 1, 2, -1])
    assert noise.describe(true, given, 3) == {
        "samples": 6,
        "excluded": 1,
        "wrong": 3,
        "realised": 0.5,
        "per_class": [0.5, 0.5, None],
        "counts": [[2, 2, 0], [0, 1, 1], [0, 0, 0]],
        "transition": [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]],
    }


@quick
@hypothesis.given(labelled(), rates, seeds)
def test_transition_rows_sum_to_one(data, rate, seed):
    labels, classes = data
    given = flip(labels, classes, rate, seed)
    text = noise.describe(labels, given, len(classes))
    present = np.bincount(labels, minlength=len(classes)) > 0
    np.testing.assert_allclose(np.sum(text["transition"], axis=1), present, atol=1e-12)
    assert text["wrong"] == (given != labels).sum()
    assert np.sum(text["counts"]) == text["samples"] == len(labels)


def test_describe_refuses():
    with pytest.raises(InputError, match="2 true labels, but 1 given"):
        noise.describe(np.array([0, 1]), np.array([0]), 2)
    with pytest.raises(InputError, match="expected labels 0 to 1, found -1 to 1"):
        noise.describe(np.array([-1, 1]), np.array([0, 1]), 2)
