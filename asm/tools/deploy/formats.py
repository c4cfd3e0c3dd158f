"""Files of a classifier that other programs load: ONNX, TorchScript, safetensors. Each is read back and
compared with PyTorch before it gets its name."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from asm.basics.errors import InputError
from asm.tools.deploy.classifier import Classifier, Description

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
AGREE = 1e-5  # largest difference of a probability
DESCRIPTION = "description.json"  # inside a TorchScript file
INSTALL = "pip install '.[onnx]'"

# Probabilities, float32 [B, K], of aligned faces, uint8 [B, S, S, 3]
Predictor = Callable[[np.ndarray], np.ndarray]


def write(classifier: Classifier, description: Description, kind: str, path: Path) -> float:
    """Write a file of the `kind` (a key of `SUFFIXES`), for batches of any size.

    Returns:
        The largest difference of its probabilities from PyTorch's on random faces.

    Raises:
        InputError: a package is missing, or the file does not agree with PyTorch to `AGREE`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    # without the memory layout that training uses, which files cannot express
    classifier = copy.deepcopy(classifier).to("cpu", memory_format=torch.contiguous_format).eval()
    faces = _faces(3, description.size)
    try:
        {"onnx": _onnx, "torchscript": _torchscript, "safetensors": _safetensors}[kind](
            classifier, description, faces, partial
        )
        predict, _ = read(partial)
        worst = 0.0
        for count in (1, 5):  # other sizes than the one that was traced
            some = _faces(count, description.size)
            with torch.inference_mode():
                expected = classifier(some).numpy()
            worst = max(worst, float(np.abs(predict(some.numpy()) - expected).max()))
        if not worst <= AGREE:
            raise InputError(f"{path}: differs from PyTorch by {worst:.1e}, more than {AGREE}; not written")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return worst


def read(path: Path) -> tuple[Predictor, Description]:
    """What `write` wrote. Raises InputError for any other file, or where a package is missing."""
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights; `python -m asm export` writes one")
    readers = {".onnx": _read_onnx, ".pt": _read_torchscript, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise InputError(f"{path}: expected a file that ends in {', '.join(readers)}, or a run's folder")
    return readers[path.suffix](path)


def predictor(module: torch.nn.Module) -> Predictor:
    """A module's."""

    def predict(faces: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(faces)).numpy()

    return predict


def _faces(count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


def _safetensors(classifier: Classifier, description: Description, _: torch.Tensor, path: Path) -> None:
    state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    save_file(state, path, metadata=description.to_metadata())


def _read_safetensors(path: Path) -> tuple[Predictor, Description]:
    try:
        with safe_open(path, "pt") as content:
            description = Description.from_metadata(content.metadata() or {}, path)
        classifier = Classifier(description)
        classifier.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as weights ({error})") from error
    return predictor(classifier), description


def _traced(classifier: Classifier, faces: torch.Tensor) -> torch.jit.ScriptModule:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of sizes that are taken as constant, which they are
        return torch.jit.trace(classifier, faces, check_trace=False)


def _torchscript(classifier: Classifier, description: Description, faces: torch.Tensor, path: Path) -> None:
    texts = json.dumps(description.to_metadata())
    torch.jit.save(_traced(classifier, faces), path, _extra_files={DESCRIPTION: texts})


def _read_torchscript(path: Path) -> tuple[Predictor, Description]:
    extra = {DESCRIPTION: ""}
    try:
        module = torch.jit.load(path, map_location="cpu", _extra_files=extra)
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as TorchScript ({str(error).splitlines()[0]})") from error
    try:
        texts = json.loads(extra[DESCRIPTION])
    except ValueError:
        texts = {}
    return predictor(module), Description.from_metadata(texts, path)


def _onnx(classifier: Classifier, description: Description, faces: torch.Tensor, path: Path) -> None:
    try:
        import onnx
    except ImportError:
        raise InputError(f"--format onnx: the package onnx is not installed; {INSTALL} installs it") from None
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _traced(classifier, faces),
            (faces,),
            str(path),
            input_names=["faces"],
            output_names=["probabilities"],
            dynamic_axes={"faces": {0: "batch"}, "probabilities": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, description.to_metadata())
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
