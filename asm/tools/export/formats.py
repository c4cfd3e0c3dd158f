"""Files of a classifier that other programs load: ONNX and safetensors. Each is read back and compared with
PyTorch before it gets its name."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors

from asm.basics.errors import InputError
from asm.basics.files import atomic_write
from asm.tools.export.classifier import Classifier, Description, installed_trunk

FROZEN = "frozen."  # how the names of a frozen network's tensors begin
AGREE = 1e-5  # largest difference of a probability
INSTALL = "pip install '.[onnx]'"

# Probabilities, float32 [B, K], of aligned faces, uint8 [B, S, S, 3]
Predictor = Callable[[np.ndarray], np.ndarray]


def write(classifier: Classifier, kind: str, path: Path) -> float:
    """Write a file of the `kind` (a key of `FORMATS`), for batches of any size.

    Returns:
        The largest difference of its probabilities from PyTorch's on random faces.

    Raises:
        InputError: a package is missing, or the file does not agree with PyTorch to `AGREE`.
    """
    # without the memory layout that training uses, which files cannot express
    classifier = copy.deepcopy(classifier).to("cpu", memory_format=torch.contiguous_format).eval()
    expected = predictor(classifier)
    with atomic_write(path) as partial:
        FORMATS[kind][1](classifier, partial)
        predict, _ = read(partial)
        batches = [_faces(count, classifier.description.size).numpy() for count in (1, 5)]  # traced with 3
        worst = max(float(np.abs(predict(faces) - expected(faces)).max()) for faces in batches)
        if not worst <= AGREE:
            raise InputError(f"{path}: differs from PyTorch by {worst:.1e}, more than {AGREE}; not written")
    return worst


def read(path: Path) -> tuple[Predictor, Description]:
    """What `write` wrote. Raises InputError for any other file, or where a package is missing."""
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights; `python -m asm export` writes one")
    readers = {suffix: reader for suffix, _, reader in FORMATS.values()}
    if path.suffix not in readers:
        raise InputError(f"{path}: expected a file that ends in {', '.join(readers)}, or a run's folder")
    return readers[path.suffix](path)


def predictor(module: torch.nn.Module) -> Predictor:
    """The same function of arrays as a module's of tensors."""

    def predict(faces: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(faces)).numpy()

    return predict


def _faces(count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


def _write_safetensors(classifier: Classifier, path: Path) -> None:
    state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    # as bytes: the package's own writer makes files that their owner alone may read
    path.write_bytes(safetensors.save(state, classifier.description.to_metadata()))


def _write_compact(classifier: Classifier, path: Path) -> None:
    """In half precision, to which `classifier` is rounded, and without dlib's frozen network."""
    state = classifier.state_dict()
    if not any(name.startswith(FROZEN) for name in state):
        raise InputError("--format compact: expected a run on a frozen network, which the file can leave out")
    kept = {name: value.half() for name, value in state.items() if not name.startswith(FROZEN)}
    for name, value in kept.items():
        state[name].copy_(value)
    path.write_bytes(safetensors.save(kept, classifier.description.to_metadata()))


def _read_safetensors(path: Path) -> tuple[Predictor, Description]:
    try:
        with safe_open(path, "pt") as content:
            description = Description.from_metadata(content.metadata() or {}, path)
        classifier, state = Classifier(description), safetensors.load_file(path)
        if description.cells and not any(name.startswith(FROZEN) for name in state):
            own = classifier.state_dict()
            trunk = {FROZEN + name: value for name, value in installed_trunk().items()}
            state |= {name: value for name, value in trunk.items() if name in own}
        classifier.load_state_dict(state)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as weights ({error})") from error
    return predictor(classifier), description


def _write_onnx(classifier: Classifier, path: Path) -> None:
    try:
        import onnx
    except ImportError:
        raise InputError(f"--format onnx: the package onnx is not installed; {INSTALL} installs it") from None
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of sizes that are taken as constant, which they are
        torch.onnx.export(
            classifier,
            (_faces(3, classifier.description.size),),
            str(path),
            input_names=["faces"],
            output_names=["probabilities"],
            dynamic_axes={"faces": {0: "batch"}, "probabilities": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, classifier.description.to_metadata())
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _read_onnx(path: Path) -> tuple[Predictor, Description]:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{path}: the package onnxruntime is not installed; {INSTALL} installs it") from None
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise InputError(f"{path}: cannot be read as ONNX ({error})") from error
    description = Description.from_metadata(session.get_modelmeta().custom_metadata_map, path)
    return lambda faces: session.run(None, {"faces": faces})[0], description


# The file's suffix, its writer and its reader; the names are those of `export --format`
FORMATS = {
    "onnx": (".onnx", _write_onnx, _read_onnx),
    "safetensors": (".safetensors", _write_safetensors, _read_safetensors),
    "compact": (".safetensors", _write_compact, _read_safetensors),
}
