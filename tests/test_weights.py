"""Weights files good and bad."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asm.basics.errors import InputError
from asm.parts import weights
from asm.parts.backbones.resnet18 import ResNet18
from asm.parts.weights.base import configured


@pytest.fixture
def state():
    return ResNet18(10, 4).state_dict()


def published(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Under the names of a published file."""
    theirs = {ours: name for name, ours in ResNet18.published_names.items()}

    def rename(name: str) -> str:
        part = next(part for part in theirs if name.startswith(f"{part}."))
        return theirs[part] + name[len(part) :]

    return {rename(name): value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s},
        lambda s: {"state_dict": {"module." + k: v for k, v in s.items()}, "epoch": 3},
        lambda s: {k: v for k, v in s.items() if not k.startswith(("fc.", "head."))},
        lambda s: {**s, "feature.weight": torch.zeros(2)},
    ],
    ids=["flat", "state_dict", "module prefix", "no head", "extra head"],
)
@pytest.mark.parametrize("names", [published, dict], ids=["published", "ours"])
def test_all_published_containers_load(tmp_path, state, wrap, names):
    torch.save(wrap(names(state)), tmp_path / "w.pth")
    read = weights.read_weights(tmp_path / "w.pth", "resnet18", 4)
    assert set(state) - set(read) == {"head.weight", "head.bias"}
    assert all(torch.equal(value, state[name]) for name, value in read.items())


def test_safetensors_load(tmp_path, state):
    save_file(published(state), tmp_path / "w.safetensors")
    read = weights.read_weights(tmp_path / "w.safetensors", "resnet18", 4)
    assert torch.equal(read["stem.1.bias"], state["stem.1.bias"])


def test_one_bit_that_has_changed_in_weights_of_ours_is_noticed(tmp_path, state):
    path = tmp_path / "w.safetensors"
    weights.write_weights(state, path)
    read = weights.read_weights(path, "resnet18", 4)
    assert all(torch.equal(value, state[name]) for name, value in read.items())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.safetensors: not what was written, the SHA-256 differs"):
        weights.read_weights(path, "resnet18", 4)


def test_nothing_matched_is_refused(tmp_path):
    torch.save({"state_dict": {"features.0.weight": torch.zeros(3)}}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: 0 of 120 backbone tensors match") as e:
        weights.read_weights(tmp_path / "w.pth", "resnet18", 4)
    assert "stem.0.weight" in str(e.value)
    assert "features.0.weight" in str(e.value)


def test_one_missing_tensor_is_refused(tmp_path, state):
    del state["stages.1.0.conv1.weight"]
    torch.save(published(state), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"missing: \['stages\.1\.0\.conv1\.weight'\]"):
        weights.read_weights(tmp_path / "w.pth", "resnet18", 4)


def test_another_width_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"stem\.0\.weight \(4, 3, 7, 7\) instead of \(8, 3, 7, 7\)"):
        weights.read_weights(tmp_path / "w.pth", "resnet18", 8)


def made(kind: str, files: Path) -> None:
    network = {"backbone": "resnet18", "width": 64, "image_size": 32}
    entry, *rest = configured({"weights": kind, "path": "w.pth", "network": network}, "x.yaml")
    entry.make(files, *rest)


def test_a_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"w\.pth: no such weights file; get resnet18_msceleb"):
        made("msceleb", tmp_path)
    with pytest.raises(InputError, match="IMAGENET1K_V1"):
        made("imagenet", tmp_path)


class Surprise:
    def __reduce__(self):
        return print, ("this code must not run",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"state_dict": Surprise()}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="not a plain file of tensors, refused"):
        weights.read_weights(tmp_path / "w.pth", "resnet18", 4)
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_truncated_file_is_refused(tmp_path, name, state):
    path = tmp_path / name
    if name.endswith("pth"):
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=name):
        weights.read_weights(path, "resnet18", 4)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0] * 4, "expected a tensor, found list"),
        (None, "expected a tensor, found NoneType"),
        (torch.full((4,), torch.nan), "expected finite numbers, found NaN or infinite ones"),
        (torch.full((4,), -torch.inf), "found NaN or infinite ones"),
        (torch.ones(4).to_sparse(), "found a tensor that is torch.sparse_coo"),
        (torch.ones(4, dtype=torch.complex64), "found torch.complex64"),
        (torch.ones(4, dtype=torch.bool), "found torch.bool"),
        (torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8), "found a tensor that is quantised"),
        (torch.ones(4, device="meta"), "found a tensor that is"),
    ],
)
def test_values_that_no_network_can_hold_are_refused(tmp_path, state, value, message):
    """They would crash, or train to NaN and be blamed on the learning rate."""
    torch.save(state | {"stem.1.weight": value}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=rf"w\.pth: stem\.1\.weight: .*{message}"):
        weights.read_weights(tmp_path / "w.pth", "resnet18", 4)
    for kind in (torch.float16, torch.float64):
        torch.save(state | {"stem.1.weight": torch.ones(4, dtype=kind)}, tmp_path / "w.pth")
        assert weights.read_weights(tmp_path / "w.pth", "resnet18", 4)["stem.1.weight"].dtype == kind
