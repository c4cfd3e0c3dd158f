"""The training loop that all methods share: resident data, epochs, evaluation, checkpoint, resume.

Every random number of an epoch comes from generators seeded by (seed, epoch), so an epoch does not depend on
how the process got there: a resumed run writes the same bytes as an uninterrupted one.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Generator, Tensor

from asm import backbone, checkpoint, methods, results
from asm.data import Data, Samples
from asm.errors import InputError
from asm.methods.base import Batch, Method
from asm.optimization import build_optimizer, set_rates
from asm.params import CellConfig

AVERAGED_EPOCHS = 5  # Table 1: mean accuracy of the last 5 epochs
CHECK_EVERY = 64  # steps between looks at the losses: looking at each would stall a GPU


class NonFiniteLoss(InputError):
    """A loss became NaN or infinite; the message names epoch, step and the samples' ids."""


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
        method = make_method(config, data, initial).to(device)
        method.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(method, config.optimizer)
        passes = backbone.count_passes(method)
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
            started, busy = time.perf_counter(), time.process_time()
            lr = set_rates(optimizer, config.optimizer, epoch, config.training.epochs)
            passes.images = 0
            logs = method.start_epoch(epoch)
            logs |= run_epoch(method, optimizer, data.train, epoch)
            logs["forward_passes"] = passes.images / len(data.train.ids)  # per training sample
            seconds, busy = time.perf_counter() - started, time.process_time() - busy
            scores, predictions[epoch] = evaluate(method, data)
            for old in [e for e in predictions if e <= epoch - AVERAGED_EPOCHS]:
                del predictions[old]
            if (subset := getattr(method, "subset", None)) is not None:
                subsets[epoch] = subset.cpu()
            history.append({"epoch": epoch, "lr": lr, **scores, **logs})
            timings.append(
                {
                    "epoch": epoch,
                    "seconds": seconds,
                    # what else runs on a CPU lengthens the clock's time, but not the processor's
                    "busy_seconds": busy if device.type == "cpu" else seconds,
                    "samples_per_second": len(data.train.ids) / seconds,
                }
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
        results.write(config, data, method, history, subsets, predictions, out, device)
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


def make_method(config: CellConfig, data: Data, initial: dict[str, Tensor] | None) -> Method:
    """The cell's method with its networks: one backbone, heads drawn from different seeds."""
    kind = methods.method_class(config.method)
    num_classes = len(data.classes)
    networks = [
        backbone.build(num_classes, config.training.width, initial, head_seed=config.seed * 1000 + i)
        for i in range(kind.num_networks)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1000 + 500)  # of whatever else a method has to learn
        return kind(config, networks, num_classes, data.train)


def run_epoch(
    method: Method, optimizer: torch.optim.Optimizer, samples: Samples, epoch: int
) -> dict[str, float]:
    """One pass over the training samples; returns each loss's mean over the samples as `loss_<name>`."""
    config, device = method.config, samples.faces.device
    seed = epoch_seed(config.seed, epoch)
    generator = Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout's only source
    order = draw_order(samples.labels, config.sampling.balanced, generator)
    sums: dict[str, Tensor] = {}
    totals: list[Tensor] = []
    rows: list[Tensor] = []
    method.train()
    for index in batches(order, config.training.batch_size):
        on_device = index.to(device)
        batch = Batch(on_device, samples.faces[on_device], samples.labels[on_device], epoch, generator)
        with method.autocast():
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


def draw_order(labels: Tensor, balanced: bool, generator: Generator) -> Tensor:
    """Rows of one epoch, int64 [N]: each once in random order, or `balanced`: drawn with replacement so that
    all classes come equally often."""
    if not balanced:
        return torch.randperm(len(labels), generator=generator)
    labels = labels.cpu()
    weights = 1 / torch.bincount(labels).double()[labels]
    return torch.multinomial(weights, len(labels), replacement=True, generator=generator)


def batches(order: Tensor, size: int) -> Iterator[Tensor]:
    """Split `order` into batches; a last batch of one sample joins the one before (BatchNorm needs two)."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts


def evaluate(method: Method, data: Data) -> tuple[dict[str, float], Tensor]:
    """Accuracies on validation and test, of each network and of their mean; and the test probabilities."""
    scores: dict[str, float] = {}
    test = method.predict_all(data.test.faces)
    for name, samples in (("test", data.test), ("valid", data.valid)):
        if not samples.ids:
            continue
        probs = test if name == "test" else method.predict_all(samples.faces)
        scores[f"{name}_accuracy"] = _accuracy(probs.mean(0), samples.labels)
        if len(probs) > 1:
            for i, one in enumerate(probs, start=1):
                scores[f"{name}_accuracy_net{i}"] = _accuracy(one, samples.labels)
    return scores, test.cpu()


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
        digest.update(split.labels.numpy().tobytes() + split.origin.numpy().tobytes())
        step = max(len(split.ids) // 64, 1)
        digest.update(split.faces[::step].contiguous().numpy().tobytes())
    for name, value in (initial or {}).items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()
