"""How params.yaml, profiles and configurations are read and written: YAML 1.2, as DVC reads them."""

import hypothesis
import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hypothesis import strategies as st
from test_params import PARAMS, small

from asm.basics import yaml as schema
from asm.basics.errors import InputError
from asm.grid import resolve as grid
from asm.grid.profile import parse_profile

NUMBERS = {"1e-5": 1e-5, "1e-05": 1e-5, "1E5": 1e5, "-1.5e+3": -1500.0, ".5": 0.5, "017": 17, "0o17": 15}
TEXTS = ["no", "yes", "on", "Off", "y", "1:30", "12:30:45", "nULL", "1e", "e5", "1,000", "_1", "0o8"]


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes):
        path = tmp_path / "x.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        return schema.read_yaml(path)

    return read


@pytest.mark.parametrize("text", NUMBERS)
def test_every_way_to_write_a_number_gives_one(read, text):
    found = read(f"lr: {text}")["lr"]
    assert (type(found), found) == (type(NUMBERS[text]), NUMBERS[text])
    assert found == parse_yaml(f"lr: {text}", "x")["lr"]


@pytest.mark.parametrize("text", TEXTS)
def test_other_words_are_text_as_they_are_to_dvc(read, text):
    assert read(f"a: {text}")["a"] == parse_yaml(f"a: {text}", "x")["a"] == text


def test_a_noise_named_no_is_one(read, tmp_path):
    content = small(x={"noise": "no"})
    text = yaml.safe_dump(content).replace("'no'", "no")
    text = text.replace("\nnoises:\n", "\nnoises:\n  no: {kind: symmetric, rate: 0.1}\n")
    profile = parse_profile(read(text), "profile")
    assert profile.cells["x"].noise == "no"
    grid.write_configs(PARAMS, profile, "test", tmp_path / "configs")
    assert schema.read_yaml(tmp_path / "configs" / "train" / "x.yaml")["noise"] == "no"
    assert (tmp_path / "configs" / "corrupt" / "no.yaml").is_file()


def test_a_number_where_a_name_belongs_is_told_to_be_quoted():
    content = small()
    content["cells"]["base"]["noise"] = 10
    with pytest.raises(InputError, match=r"cells\.base\.noise: .*string \(found 10\); put it in quotes"):
        parse_profile(content, "profile")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: caf\xe9", "expected UTF-8 text, found: .*0xe9.*save it as UTF-8"),
        (b"\xff\xfea\x00:\x00", "expected UTF-8 text"),
        ('a: "\\ud800"', "line 1, column 7: found invalid Unicode character escape code"),
        ("a: 1\nb: 2\na: 3", 'line 3, column 1: found duplicate key "a"'),
        ("a: !!int x", "not valid YAML: ValueError: .*'x'"),
        ("a: !!bool x", "not valid YAML: KeyError"),
        ("a: !!timestamp x", "line 1, column 4: failed to construct timestamp"),
        ("a: " + "9" * 5000, "not valid YAML: ValueError: .*4300 digits"),
        ("a: " + "[" * 5000, "not valid YAML: line 2, column 1"),
        ("a:\n\tb: 1", "line 2, column 1: found character that cannot start any token"),
        ("a: \x07", "not valid YAML: ReaderError"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ],
)
def test_what_is_no_yaml_is_one_line_that_names_the_file(read, content, message):
    with pytest.raises(InputError, match=rf"x\.yaml: .*{message}") as error:
        read(content)
    assert len(str(error.value).splitlines()) == 1


@hypothesis.given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.sampled_from([*NUMBERS, *TEXTS, "null", "~", "true", "<<", "=", ""]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_written_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(schema.dump_yaml({"value": value}), encoding="utf-8")
    assert schema.read_yaml(path) == {"value": value}
