"""The training loop that all methods share: resident data, epochs, evaluation, checkpoint, resume.

Every random number of an epoch comes from generators seeded by (seed, epoch), so an epoch does not depend on
how the process got there: a resumed run writes the same bytes as an uninterrupted one.
"""

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from asm import augment, backbone, checkpoint
from asm.errors import InputError
from asm.faces.store import AlignedFaces
from asm.methods import METHODS, Batch, Method
from asm.params import CellConfig

AVERAGED_EPOCHS = 5  # Table 1: mean accuracy of the last 5 epochs
EVALUATION_BATCH = 256
CHECK_EVERY = 64  # steps between looks at the losses: looking at each would stall a GPU
TSNE_TRAINING_SAMPLES = 1500


class NonFiniteLoss(InputError):
    """A loss became NaN or infinite; the message names epoch, step and the samples' ids."""


@dataclass(frozen=True)
class Samples:
    """One split, in manifest order. `faces` uint8 [N, S, S, C], `labels` int64 [N], `ids` N strings."""

    ids: list[str]
    faces: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Samples":
        return Samples(self.ids, self.faces.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Data:
    """A cell's data: training samples with their given labels, validation (may be empty) and test.

    `clean` holds the training samples' labels before corruption, int64 [N] on the CPU. It is only written
    beside the results, for the scores of the mining; no method sees it.
    """

    classes: tuple[str, ...]
    train: Samples
    valid: Samples
    test: Samples
    clean: np.ndarray

    def to(self, device: torch.device) -> "Data":
        splits = (split.to(device) for split in (self.train, self.valid, self.test))
        return Data(self.classes, *splits, self.clean)


def train(
    config: CellConfig,
    data: Data,
    initial: dict[str, Tensor] | None,
    out: Path,
    checkpoints: Path,
    timing: Path,
    device: torch.device,
) -> None:
    """Train one cell and write its results to `out`.

    Args:
        initial: backbone tensors to start from, or None for random ones.
        checkpoints: folder of the cell's checkpoint; locked while running, emptied at the end.
        timing: csv of seconds and samples/s per epoch, kept apart because it differs from run to run.

    Raises:
        NonFiniteLoss: see there.
        InputError: another process trains this cell, or the checkpoint cannot be written.
    """
    with checkpoint.exclusive(checkpoints):
        fingerprint = _fingerprint(config, data, initial)
        data = data.to(device)
        method = make_method(config, len(data.classes), initial).to(device)
        method.networks.to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(
            method.parameters(),
            lr=config.optimizer.lr,
            weight_decay=config.optimizer.weight_decay,
            fused=True,
        )
        history: list[dict[str, float]] = []
        timings: list[dict[str, float]] = []
        subsets: dict[int, Tensor] = {}  # epoch -> int8 [N]
        predictions: dict[int, Tensor] = {}  # epoch -> test probabilities [networks, N, K]
        path = checkpoints / "last.pt"
        if state := checkpoint.load(path, fingerprint):
            method.load_state_dict(state["method"])
            optimizer.load_state_dict(state["optimizer"])
            history, timings = state["history"], state["timings"]
            subsets, predictions = state["subsets"], state["predictions"]
            print(f"{config.cell}: going on after epoch {len(history)}")

        for epoch in range(len(history) + 1, config.training.epochs + 1):
            started = time.perf_counter()
            lr = config.optimizer.lr * config.optimizer.lr_decay ** (epoch - 1)
            for group in optimizer.param_groups:
                group["lr"] = lr
            logs = method.start_epoch(
                epoch,
                data.train.labels,
                lambda: predict(method, data.train.faces, config.training.precision),
            )
            logs |= run_epoch(method, optimizer, data.train, epoch)
            trained = time.perf_counter()
            scores, predictions[epoch] = evaluate(method, data)
            for old in [e for e in predictions if e <= epoch - AVERAGED_EPOCHS]:
                del predictions[old]
            if (subset := getattr(method, "subset", None)) is not None:
                subsets[epoch] = subset.cpu()
            history.append({"epoch": epoch, "lr": lr, **scores, **logs})
            seconds = trained - started
            timings.append(
                {"epoch": epoch, "seconds": seconds, "samples_per_second": len(data.train.ids) / seconds}
            )
            checkpoint.save(
                {
                    "fingerprint": fingerprint,
                    "method": method.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "history": history,
                    "timings": timings,
                    "subsets": subsets,
                    "predictions": predictions,
                },
                path,
            )
            print(
                f"{config.cell}: epoch {epoch}/{config.training.epochs}  loss {logs['loss_total']:.4f}  "
                f"test {scores['test_accuracy']:.2%}  {len(data.train.ids) / seconds:.0f} samples/s",
                flush=True,
            )
        _write(config, data, method, history, subsets, predictions, out, device)
        timing.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(timings).to_csv(timing, index=False, float_format="%.4g")
        shutil.rmtree(checkpoints)


def pick_device() -> torch.device:
    """The GPU if there is one. On a CPU one thread: two cells side by side beat one cell on two threads, and
    the result does not depend on the number of cores. OMP_NUM_THREADS overrides it."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return torch.device("cpu")


def select(aligned: AlignedFaces, labels: pd.DataFrame) -> Data:
    """A cell's data: the training samples of `labels` (`id`, `label` = given, `clean`) and the untouched
    validation and test split. A training sample with the given label -1 is left out.

    Raises:
        InputError: the labels do not belong to this data set.
    """
    manifest = aligned.manifest
    labels = labels.set_index("id")
    given = manifest["id"].map(labels["label"])
    is_train = manifest["split"] == "train"
    if len(labels) != is_train.sum() or given[is_train].isna().any():
        raise InputError(
            f"{aligned.name}: {len(labels)} given labels for {is_train.sum()} training samples, "
            f"{int(given[is_train].isna().sum())} of them without one; run the corrupt stage again"
        )

    def samples(chosen: pd.Series, values: pd.Series) -> Samples:
        rows = np.flatnonzero(chosen)
        numbers = torch.from_numpy(values.to_numpy(dtype=np.int64, copy=True)[rows])
        return Samples(manifest["id"].iloc[rows].tolist(), torch.from_numpy(aligned.faces[rows]), numbers)

    train_samples = samples(is_train & (given >= 0), given.fillna(-1))
    return Data(
        tuple(aligned.classes),
        train_samples,
        *(samples(manifest["split"] == split, manifest["label"]) for split in ("valid", "test")),
        clean=labels.loc[train_samples.ids, "clean"].to_numpy(dtype=np.int64),
    )


def make_method(config: CellConfig, num_classes: int, initial: dict[str, Tensor] | None) -> Method:
    """The cell's method with its networks: one backbone, heads drawn from different seeds."""
    kind = METHODS[config.method]
    networks = [
        backbone.build(num_classes, config.training.width, initial, head_seed=config.seed * 1000 + i)
        for i in range(kind.num_networks)
    ]
    return kind(config, networks, num_classes)


def run_epoch(
    method: Method, optimizer: torch.optim.Optimizer, samples: Samples, epoch: int
) -> dict[str, float]:
    """One pass over the training samples; returns each loss's mean over the samples as `loss_<name>`."""
    config, device = method.config, samples.faces.device
    generator = Generator().manual_seed(epoch_seed(config.seed, epoch))
    order = torch.randperm(len(samples.ids), generator=generator)
    sums: dict[str, Tensor] = {}
    totals: list[Tensor] = []
    rows: list[Tensor] = []
    method.train()
    for index in batches(order, config.training.batch_size):
        on_device = index.to(device)
        faces = samples.faces[on_device]
        batch = Batch(
            index=on_device,
            weak=augment.weak_view(faces, config.augment, generator),
            labels=samples.labels[on_device],
            strong=lambda mask, faces=faces: augment.strong_view(
                faces[mask], config.strong_augment, generator
            ),
            epoch=epoch,
        )
        with autocast(device, config.training.precision):
            losses = method.losses(batch)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        optimizer.step()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.detach() * len(index)
        totals.append(losses["total"].detach())
        rows.append(index)
        if len(totals) == CHECK_EVERY:
            _check_finite(totals, rows, samples.ids, epoch)
            totals, rows = [], []
    _check_finite(totals, rows, samples.ids, epoch)
    return {f"loss_{name}": float(total) / len(order) for name, total in sums.items()}


def batches(order: Tensor, size: int) -> Iterator[Tensor]:
    """Split `order` into batches; a last batch of one sample joins the one before (BatchNorm needs two)."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts


def predict(method: Method, faces: Tensor, precision: str) -> Tensor:
    """Probabilities of each network in evaluation mode, float32 [networks, N, K], on the faces' device."""
    method.eval()
    with torch.inference_mode(), autocast(faces.device, precision):
        parts = [method.predict(augment.evaluation_view(part)) for part in faces.split(EVALUATION_BATCH)]
    return torch.cat(parts, dim=1).clone()


def evaluate(method: Method, data: Data) -> tuple[dict[str, float], Tensor]:
    """Accuracies on validation and test, of each network and of their mean; and the test probabilities."""
    scores: dict[str, float] = {}
    precision = method.config.training.precision
    test = predict(method, data.test.faces, precision)
    for name, samples in (("test", data.test), ("valid", data.valid)):
        if not samples.ids:
            continue
        probs = test if name == "test" else predict(method, samples.faces, precision)
        scores[f"{name}_accuracy"] = _accuracy(probs.mean(0), samples.labels)
        if len(probs) > 1:
            for i, one in enumerate(probs, start=1):
                scores[f"{name}_accuracy_net{i}"] = _accuracy(one, samples.labels)
    return scores, test.cpu()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def epoch_seed(seed: int, epoch: int) -> int:
    """A 63-bit seed for one epoch of one run; unrelated for neighbouring seeds and epochs."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _accuracy(probs: Tensor, labels: Tensor) -> float:
    return float((probs.argmax(dim=1) == labels).double().mean())


def _check_finite(totals: list[Tensor], rows: list[Tensor], ids: list[str], epoch: int) -> None:
    if not totals:
        return
    finite = torch.stack(totals).isfinite().tolist()
    if not all(finite):
        index = rows[finite.index(False)].tolist()
        raise NonFiniteLoss(
            f"epoch {epoch}: the loss of a batch is not finite; its samples: "
            f"{', '.join(ids[i] for i in index)}. "
            "Lower optimizer.lr, use precision fp32, or look at these images"
        )


def _fingerprint(config: CellConfig, data: Data, initial: dict[str, Tensor] | None) -> str:
    """Of all that decides the outcome: configuration, labels, a sample of the pixels, initial weights."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    for split in (data.train, data.valid, data.test):
        digest.update("\n".join(split.ids).encode())
        digest.update(split.labels.numpy().tobytes())
        step = max(len(split.ids) // 64, 1)
        digest.update(split.faces[::step].contiguous().numpy().tobytes())
    for name, value in (initial or {}).items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _write(
    config: CellConfig,
    data: Data,
    method: Method,
    history: list[dict[str, float]],
    subsets: dict[int, Tensor],
    predictions: dict[int, Tensor],
    out: Path,
    device: torch.device,
) -> None:
    """history.csv, predictions.npz, mining.npz, features.npz, weights.safetensors, run.json."""
    out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(history).to_csv(out / "history.csv", index=False, float_format="%.9g")
    np.savez_compressed(
        out / "predictions.npz",
        epochs=np.array(list(predictions)),
        test_ids=np.array(data.test.ids),
        test_labels=data.test.labels.cpu().numpy(),
        test_probabilities=torch.stack(list(predictions.values())).numpy(),  # [epochs, networks, N, K]
    )
    train_probs = predict(method, data.train.faces, config.training.precision)
    np.savez_compressed(
        out / "mining.npz",
        train_ids=np.array(data.train.ids),
        given_labels=data.train.labels.cpu().numpy(),
        clean_labels=data.clean,
        probabilities=train_probs.mean(0).cpu().numpy(),  # [N, K] after the last epoch
        epochs=np.array(list(subsets), dtype=np.int64),
        subsets=torch.stack(list(subsets.values())).numpy() if subsets else np.empty((0, 0), np.int8),
    )
    chosen = np.random.default_rng(0).permutation(len(data.train.ids))[:TSNE_TRAINING_SAMPLES]
    chosen.sort()
    test_probs = torch.from_numpy(predictions[max(predictions)].mean(0).numpy()).to(device)
    mine = getattr(method, "mine", None) if subsets else None
    np.savez_compressed(
        out / "features.npz",
        test=_features(method, data.test.faces),
        test_subset=mine(test_probs, data.test.labels).cpu().numpy() if mine else np.empty(0, np.int8),
        train=_features(method, data.train.faces[torch.from_numpy(chosen).to(device)]),
        train_rows=chosen,
    )
    state = {k: v.contiguous().cpu() for k, v in method.state_dict().items()}
    save_file(state, out / "weights.safetensors")
    run = {
        "config": config.model_dump(exclude_none=True),
        "classes": list(data.classes),
        "train_images": len(data.train.ids),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        },
    }
    (out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


def _features(method: Method, faces: Tensor) -> np.ndarray:
    """Pooled features of the first network in evaluation mode, float32 [N, D]."""
    method.eval()
    with torch.inference_mode():
        parts = [
            method.networks[0].features(augment.evaluation_view(part))
            for part in faces.split(EVALUATION_BATCH)
        ]
    return torch.cat(parts).float().cpu().numpy()
