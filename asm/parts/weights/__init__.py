"""Weights in files: those that a backbone starts from are read from the user's; our own are written and read.

The kinds of initial weights that a profile may name are the files here (base.py says what each has).
"""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from asm.basics.errors import InputError
from asm.basics.files import atomic_write
from asm.parts.backbones import backbone_class


def write_weights(state: dict[str, Tensor], path: Path) -> None:
    """One .safetensors file, with the SHA-256 of its tensors. Raises InputError: the disk is full or not
    writable."""
    state = {name: value.contiguous().cpu() for name, value in state.items()}
    with atomic_write(path) as partial:
        # as bytes: the package's own writer makes files that their owner alone may read
        partial.write_bytes(save(state, {"sha256": _digest(state)}))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of ours, or of anybody's.

    Raises:
        InputError: the file is unreadable, or one of ours whose tensors are not those that were written.
    """
    try:
        open(path, "rb").close()  # the package says of a file that may not be read that it is not there
        with safe_open(path, "pt") as file:
            expected = (file.metadata() or {}).get("sha256")
        state = load_file(path)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as weights: {error}") from error
    if expected is not None and expected != _digest(state):
        raise InputError(f"{path}: not what was written, the SHA-256 differs; make it again")
    return state


def _digest(state: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(f"{name}\0{value.dtype}\0{list(value.shape)}\0".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def read_weights(path: Path, backbone: str, width: int, where_to_get: str = "") -> dict[str, Tensor]:
    """Backbone tensors from a .pth/.pt/.tar file (a state dict, or one under `state_dict`) or .safetensors.

    A `module.` prefix is dropped; published names become ours; heads and whatever else is no backbone
    tensor are left out. Files are read with `weights_only=True`: one that would run code is refused.

    Raises:
        InputError: the file is missing or unreadable, or any backbone tensor is missing, of another shape,
            not finite or nothing that a backbone can hold. Loading part of a backbone would train from a
            half-random network without a word.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weights file" + (f"; get {where_to_get}" if where_to_get else ""))
    try:
        if path.suffix == ".safetensors":
            content = read_safetensors(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as weights: {error}") from error
    except Exception as error:  # pickle.UnpicklingError has many faces, all of them "refused or broken"
        raise InputError(f"{path}: not a plain file of tensors, refused: {error}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path}: expected a mapping of names to tensors, found {type(content).__name__}")
    network = backbone_class(backbone)(1, width)
    state = {network.our_name(str(name).removeprefix("module.")): value for name, value in state.items()}
    expected = network.backbone_state()
    if strange := [key for key in expected if not isinstance(state.get(key, torch.empty(0)), Tensor)]:
        raise InputError(f"{path}: {strange[0]}: expected a tensor, found {type(state[strange[0]]).__name__}")
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    wrong = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state and tuple(state[k].shape) != tuple(v.shape)
    ]
    if missing or wrong:
        matched = len([k for k in expected if k in state]) - len(wrong)
        raise InputError(
            f"{path}: {matched} of {len(expected)} backbone tensors match {backbone} of width {width}; "
            f"missing: {missing[:3] or 'none'}; other shape: {wrong[:3] or 'none'}; "
            f"the file holds e.g. {list(state)[:3]}. Give weights of this architecture and width."
        )
    for key in (key for key in expected if key in state):
        if fault := _fault(state[key]):
            raise InputError(f"{path}: {key}: expected finite numbers, found {fault}")
    return {k: state[k].contiguous() for k in expected if k in state}


def _fault(value: Tensor) -> str:
    """What speaks against a tensor of weights; "": nothing."""
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return f"a tensor that is {'quantised' if value.is_quantized else value.layout}"
    if value.is_complex() or value.dtype == torch.bool:
        return f"{value.dtype}"
    return "" if value.isfinite().all() else "NaN or infinite ones"
