import hypothesis
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare

from asm.basics.errors import InputError
from asm.datasets import noise

FER = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")

settings.register_profile("noise", deadline=None, max_examples=60)
quick = settings.get_profile("noise")


@st.composite
def labelled(draw):
    num_classes = draw(st.integers(2, 8))
    labels = draw(arrays(np.int64, st.integers(0, 200), elements=st.integers(0, num_classes - 1)))
    return labels, num_classes


rates = st.floats(0, 0.999)
seeds = st.integers(0, 2**32 - 1)


# --- corrupt ----------------------------------------------------------------------------------------------


@quick
@hypothesis.given(labelled(), rates, seeds)
def test_exact_symmetric_noise_changes_exactly_so_many(data, rate, seed):
    labels, num_classes = data
    before = labels.copy()
    given = noise.corrupt(labels, num_classes, kind="symmetric", rate=rate, mode="exact", seed=seed)
    assert (given != labels).sum() == round(rate * len(labels))
    assert (labels == before).all()
    assert given.dtype == np.int64
    assert not len(given) or (given.min() >= 0 and given.max() < num_classes)


@quick
@hypothesis.given(labelled(), rates, seeds, st.sampled_from(noise.MODES))
def test_equal_arguments_give_equal_labels(data, rate, seed, mode):
    labels, num_classes = data
    options = {"kind": "symmetric", "rate": rate, "mode": mode, "seed": seed}
    first = noise.corrupt(labels, num_classes, **options)
    assert (first == noise.corrupt(labels, num_classes, **options)).all()


@quick
@hypothesis.given(labelled(), seeds, st.sampled_from(noise.MODES))
def test_no_noise_changes_nothing(data, seed, mode):
    labels, num_classes = data
    given = noise.corrupt(labels, num_classes, kind="symmetric", rate=0.0, mode=mode, seed=seed)
    assert (given == labels).all()
    assert given is not labels


@quick
@hypothesis.given(arrays(np.int64, st.integers(0, 200), elements=st.integers(0, 7)), rates, seeds)
def test_asymmetric_noise_only_takes_the_pair(labels, rate, seed):
    given = noise.corrupt(labels, 8, kind="asymmetric", rate=rate, mode="exact", seed=seed, classes=FER)
    changed = given != labels
    assert changed.sum() == round(rate * len(labels))  # every expression has a pair
    partner = np.array([FER.index(noise.FER_PAIRS[c]) for c in FER])
    assert (given[changed] == partner[labels[changed]]).all()


def test_seeds_differ():
    labels = np.zeros(1000, np.int64)
    a, b = (noise.corrupt(labels, 7, kind="symmetric", rate=0.3, seed=s) for s in (0, 1))
    assert (a != b).any()


def test_the_draw_is_pinned():
    """Fixed values: another draw would silently change every corrupted data set."""
    given = noise.corrupt(np.arange(12) % 3, 3, kind="symmetric", rate=0.5, seed=0)
    rng = np.random.Generator(np.random.PCG64(0))
    chosen = np.flatnonzero(rng.random(12) < 0.5)
    assert chosen.tolist() == [1, 2, 3, 11]
    assert given.tolist() == [0, 2, 1, 2, 1, 2, 0, 1, 2, 0, 1, 0]


@pytest.mark.parametrize("mode", noise.MODES)
def test_symmetric_noise_is_uniform_over_the_other_classes(mode):
    num_classes, n, rate = 7, 140_000, 0.3
    labels = np.repeat(np.arange(num_classes), n // num_classes)
    given = noise.corrupt(labels, num_classes, kind="symmetric", rate=rate, mode=mode, seed=3)
    for k in range(num_classes):
        counts = np.bincount(given[labels == k], minlength=num_classes)
        others = np.delete(counts, k)
        assert chisquare(others).pvalue > 1e-3
    wrong = [(given[labels == k] != k).sum() for k in range(num_classes)]
    assert chisquare(wrong).pvalue > 1e-3  # no class is hit more than another


def test_bernoulli_rate_varies_as_the_binomial():
    n, rate = 20_000, 0.2
    wrong = [
        (noise.corrupt(np.zeros(n, np.int64), 7, kind="symmetric", rate=rate, seed=s) != 0).sum()
        for s in range(50)
    ]
    sd = np.sqrt(n * rate * (1 - rate))
    assert abs(np.mean(wrong) - n * rate) < 4 * sd / np.sqrt(50)
    assert 0.6 * sd < np.std(wrong) < 1.5 * sd


def test_asymmetric_pairs_of_ones_own():
    classes = ("a", "b", "c")
    labels = np.repeat([0, 1, 2], 100)
    given = noise.corrupt(
        labels,
        3,
        kind="asymmetric",
        rate=0.5,
        mode="exact",
        seed=0,
        classes=classes,
        pairs={"a": "c", "c": "b"},
    )
    assert (given != labels).sum() == 100  # half of the 200 that have a pair
    assert (given[labels == 1] == 1).all()
    assert set(given[labels == 0]) == {0, 2}
    assert set(given[labels == 2]) == {1, 2}


def test_a_default_partner_that_is_absent_leaves_the_class_alone():
    labels = np.repeat([0, 1, 2], 50)
    given = noise.corrupt(
        labels, 3, kind="asymmetric", rate=0.9, seed=0, classes=("fear", "surprise", "anger")
    )
    assert (given[labels == 2] == 2).all()  # anger's partner disgust is not among the classes
    assert (given[labels == 0] == 1).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": "pairflip"},
            "unknown kind 'pairflip'; drawn kinds are symmetric, asymmetric, read ones list",
        ),
        ({"mode": "about"}, "unknown mode 'about'; expected one of bernoulli, exact"),
        ({"rate": 1.0}, "from 0 to below 1, found 1.0"),
        ({"rate": -0.1}, "found -0.1"),
        ({"rate": float("nan")}, "found nan"),
        ({"num_classes": 1}, "two or more classes, found 1"),
        ({"num_classes": 2}, "expected labels 0 to 1, found 0 to 2"),
        ({"true": np.array([0.0, 1.0])}, "expected whole numbers .* found float64"),
        ({"true": np.array([[0, 1]])}, r"found int64 \[1, 2\]"),
        ({"kind": "asymmetric"}, "needs the names of the 3 classes, found none"),
        ({"kind": "asymmetric", "classes": ("a", "b")}, "names of the 3 classes, found a, b"),
        ({"kind": "asymmetric", "classes": ("a", "b", "c")}, "no default pair is among the classes a, b, c"),
        ({"kind": "asymmetric", "classes": ("a", "b", "c"), "pairs": {"a": "d"}}, "'d' is not among"),
        (
            {"kind": "asymmetric", "classes": ("a", "b", "c"), "pairs": {"a": "a"}},
            "'a' is paired with itself",
        ),
    ],
)
def test_corrupt_refuses(options, message):
    arguments = {"true": np.array([0, 1, 2]), "num_classes": 3, "kind": "symmetric", "rate": 0.1, "seed": 0}
    with pytest.raises(InputError, match=message):
        noise.corrupt(**{**arguments, **options})


# --- from_list --------------------------------------------------------------------------------------------

IDS = ["train_00001", "train_00002", "train_00003"]
TRUE = np.array([4, 0, 6])


def read(tmp_path, text: str, ids=IDS, true=TRUE, **options) -> list[int]:
    (tmp_path / "noise01.txt").write_text(text)
    return noise.from_list(tmp_path / "noise01.txt", ids, true, 7, **options).tolist()


def test_list_counted_from_one(tmp_path):
    text = "train_00002.jpg 1\ntrain_00001.jpg 3\ntrain_00003.jpg 7"  # another order, no final newline
    assert read(tmp_path, text) == [2, 0, 6]


def test_list_counted_from_zero_with_absolute_paths(tmp_path):
    text = "".join(f"/data/raf/train_0000{k}_aligned.jpg {v}\n" for k, v in ((1, 2), (2, 0), (3, 6)))
    assert read(tmp_path, text) == [2, 0, 6]
    assert read(tmp_path, text.replace("/", "\\")) == [2, 0, 6]


def test_list_with_neither_end_of_the_range_goes_by_agreement(tmp_path):
    rows = "train_00001.jpg {}\ntrain_00002.jpg {}\ntrain_00003.jpg {}\n"
    true = np.array([2, 3, 4])
    assert read(tmp_path, rows.format(2, 3, 5), true=true) == [2, 3, 5]  # from 0
    assert read(tmp_path, rows.format(3, 4, 6), true=true) == [2, 3, 5]  # from 1
    assert read(tmp_path, rows.format(3, 4, 6), true=true, base=0) == [3, 4, 6]


def test_list_may_hold_more(tmp_path):
    text = "train_00001.jpg 5\ntrain_00002.jpg 1\ntrain_00003.jpg 7\ntest_0001.jpg 2\n"
    assert read(tmp_path, text) == [4, 0, 6]


@pytest.mark.parametrize(
    "text",
    ["/d/sad/1.jpg 2\n/d/fear/1.jpg 1\n/d/fear/2.jpg 7\n", "sad\\1.png 2\nfear\\1.png 1\nfear\\2.png 7\n"],
)
def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path, text):
    ids = ["train/fear/1.jpg", "train/sad/1.jpg", "train/fear/2.jpg"]
    assert read(tmp_path, text, ids, np.array([0, 1, 6])) == [0, 1, 6]


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


def test_one_row_serves_the_only_sample_of_its_name(tmp_path):
    assert read(tmp_path, "fer00.png 4\nfer01.png 7\n", ["fer01", "fer00#2"], np.array([6, 0])) == [6, 3]


def test_names_are_the_same_in_either_form_of_unicode(tmp_path):
    text = "caf\u00e9.jpg 1\nb.jpg 7\n"
    assert read(tmp_path, text, ["cafe\u0301.jpg", "b.jpg"], np.array([0, 6])) == [0, 6]


def test_a_name_may_hold_spaces_and_dots(tmp_path):
    assert read(tmp_path, "my photo 2.jpg 1\nb.c.jpg 7\n", ["my photo 2.jpg", "b.c"], np.array([0, 6])) == [
        0,
        6,
    ]


def test_ids_may_be_paths(tmp_path):
    text = "a.jpg 1\nb.jpg 7\n"
    assert read(tmp_path, text, ["sad/b.png", "fear/a.png"], np.array([6, 0])) == [6, 0]


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
    ],
)  # fmt: skip
def test_list_refuses(tmp_path, text, options, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text, **options)


# --- original, describe -----------------------------------------------------------------------------------


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
    labels, num_classes = data
    given = noise.corrupt(labels, num_classes, kind="symmetric", rate=rate, mode="exact", seed=seed)
    text = noise.describe(labels, given, num_classes)
    present = np.bincount(labels, minlength=num_classes) > 0
    np.testing.assert_allclose(np.sum(text["transition"], axis=1), present, atol=1e-12)
    assert text["wrong"] == round(rate * len(labels))
    assert np.sum(text["counts"]) == text["samples"] == len(labels)


def test_describe_refuses():
    with pytest.raises(InputError, match="2 true labels, but 1 given"):
        noise.describe(np.array([0, 1]), np.array([0]), 2)
    with pytest.raises(InputError, match="expected labels 0 to 1, found -1 to 1"):
        noise.describe(np.array([-1, 1]), np.array([0, 1]), 2)
