"""Whatever params.yaml and a profile hold, they are resolved or refused in a line: never a traceback.

60 examples each; `pytest tests/test_odd_settings.py --hypothesis-profile long -o timeout=0` for many more.
"""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd import VALUES, damage, works_or_says_why

from asm.basics.errors import InputError
from asm.basics.yaml import dump_yaml, read_yaml
from asm.grid.cells import cells_text
from asm.grid.params import load_params
from asm.grid.profile import load_profile
from asm.grid.resolve import write_configs

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """params.yaml and profile.yaml, as they are committed."""
    root = tmp_path_factory.mktemp("settings")
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copy(ROOT / "profiles" / "smoke" / "profile.yaml", root)
    return root


def resolve(root: Path) -> None:
    profile = load_profile(root / "profile.yaml")
    cells_text(profile, "test")
    write_configs(load_params(root / "params.yaml"), profile, "test", root / "configs")


def try_with(root: Path, name: str, content: bytes) -> None:
    sound = (root / name).read_bytes()
    try:
        (root / name).write_bytes(content)
        works_or_says_why(lambda: resolve(root), root / name, "profile: ", "params.yaml: ")
    finally:
        (root / name).write_bytes(sound)


FILES = st.sampled_from(["params.yaml", "profile.yaml"])


@pytest.mark.parametrize("key", ["image_size", "width", "batch_size", "epochs"])
def test_a_size_that_no_machine_holds_is_a_slip(project, key):
    content = read_yaml(project / "profile.yaml")
    content["training"][key] = 10**7
    sound = (project / "profile.yaml").read_bytes()
    try:
        (project / "profile.yaml").write_text(dump_yaml(content), encoding="utf-8")
        with pytest.raises(InputError, match=rf"training\.{key}: Input should be less than or equal to"):
            resolve(project)
    finally:
        (project / "profile.yaml").write_bytes(sound)


@given(name=FILES, change=damage())
def test_a_damaged_file_is_resolved_or_named(project, name, change):
    try_with(project, name, change((project / name).read_bytes()))


@given(name=FILES, data=st.data())
def test_odd_values_at_any_place_are_resolved_or_named(project, name, data):
    content = copy.deepcopy(read_yaml(project / name))
    for _ in range(data.draw(st.integers(1, 2))):
        holder: Any = content
        key = data.draw(st.sampled_from(sorted(holder)))
        while isinstance(holder[key], dict) and holder[key] and data.draw(st.booleans()):
            holder = holder[key]
            key = data.draw(st.sampled_from(sorted(holder, key=str)))
        kind = data.draw(st.sampled_from(["set", "drop", "rename"]))
        value = holder.pop(key)
        if kind == "set" or not content:
            holder[key] = data.draw(VALUES)
        elif kind == "rename":
            holder[data.draw(st.text(max_size=4))] = value
    try_with(project, name, dump_yaml(content).encode("utf-8", "surrogatepass"))
