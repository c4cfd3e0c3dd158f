"""One cell from data to results: epochs (epoch.py), checkpoint, resume; in one process or several.

A resumed run writes the same bytes as an uninterrupted one. The checkpoint stays when the results are
written; if they are lost before DVC has them, they are written again without training.
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from asm import methods
from asm.basics.errors import InputError
from asm.basics.files import atomic_write, exclusive
from asm.methods.base import Method
from asm.methods.config import CellConfig
from asm.parts import backbones, distributed, perceptron
from asm.parts.batches import Data
from asm.parts.device import warn_of_slow_bf16
from asm.training import checkpoint, results
from asm.training.epoch import evaluate, run_epoch
from asm.training.optimization import build_optimizer, set_rates
from asm.training.results import Record

AVERAGED_EPOCHS = 5  # Table 1: mean accuracy of the last 5 epochs
HASHED_AT_ONCE = 1024  # faces


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
        checkpoints: folder of the cell's checkpoint; locked while running; whoever has the results
            safe may remove it.
        timing: csv of seconds and samples/s per epoch, kept apart because it differs from run to run.

    Raises:
        NonFiniteLoss: see there.
        InputError: too few samples, another process trains this cell, the checkpoint is of another structure,
            the disk is full or not writable.
    """
    if len(data.train.ids) < 2 or not data.test.ids:
        raise InputError(
            f"{config.cell}: training needs two samples (batch normalisation) and one to test on; "
            f"found {len(data.train.ids)} and {len(data.test.ids)}"
        )
    if config.training.precision == "bf16":
        warn_of_slow_bf16(device)
    with _only_one(checkpoints):
        stamp = fingerprint(config, data, initial)
        data = data.to(device)
        method = make_method(config, data, initial).to(device)
        method.to(memory_format=torch.channels_last)
        with distributed.group(device):
            record = run_epochs(method, data, checkpoints / "last.pt", stamp)
            writes = distributed.rank() == 0
        if writes:
            results.write(method, data, record, stamp, out)
            with atomic_write(timing) as path:
                pd.DataFrame(record.timings).to_csv(path, index=False, float_format="%.4g")


def run_epochs(method: Method, data: Data, path: Path, stamp: dict[str, str]) -> Record:
    """Train `method` from the checkpoint at `path`, or from the start, to the last epoch."""
    config, device, writes = method.config, data.train.labels.device, distributed.rank() == 0
    optimizer = build_optimizer(method, config.optimizer)
    passes = backbones.count_passes(method)
    record = Record()
    if state := checkpoint.load(path, stamp):
        try:
            method.load_state_dict(state["method"])
            optimizer.load_state_dict(state["optimizer"])
            record = Record(**{name: state[name] for name in vars(record)})
        except (LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path}: not a checkpoint of this cell's structure ({' '.join(str(error).split())[:200]}); "
                "remove it and start again"
            ) from error
        if writes:
            print(f"{config.cell}: going on after epoch {len(record.history)}")
    model, samples = distributed.wrap(method), len(data.train.ids)

    for epoch in range(len(record.history) + 1, config.training.epochs + 1):
        started, busy = time.perf_counter(), time.process_time()
        lr = set_rates(optimizer, config.optimizer, epoch, config.training.epochs)
        passes.images = 0
        logs = method.start_epoch(epoch)
        logs |= run_epoch(model, optimizer, data.train, epoch)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        work = torch.tensor([passes.images, busy], dtype=torch.float64, device=device)
        images, busy = distributed.sum_over_processes(work).tolist()
        logs["forward_passes"] = images / samples  # per training sample
        scores, record.predictions[epoch] = evaluate(method, data)
        for old in [e for e in record.predictions if e <= epoch - AVERAGED_EPOCHS]:
            del record.predictions[old]
        if method.subset is not None:
            record.subsets[epoch] = method.subset.cpu()
        record.history.append({"epoch": epoch, "lr": lr, **scores, **logs})
        record.timings.append(
            {
                "epoch": epoch,
                "seconds": seconds,
                # what else runs on a CPU lengthens the clock's time, but not the processor's
                "busy_seconds": busy if device.type == "cpu" else seconds,
                "samples_per_second": samples / seconds,
                "threads": torch.get_num_threads(),  # another number rounds otherwise
            }
        )
        if not writes:
            continue
        state = {"method": method.state_dict(), "optimizer": optimizer.state_dict(), **vars(record)}
        checkpoint.save({"fingerprint": stamp, **state}, path)
        print(
            f"{config.cell}: epoch {epoch}/{config.training.epochs}  loss {logs['loss_total']:.4f}  "
            f"test {scores['test_accuracy']:.2%}  {samples / seconds:.0f} samples/s",
            flush=True,
        )
    return record


def _only_one(checkpoints: Path) -> contextlib.AbstractContextManager[None]:
    """The lock on a cell, held by the first of its processes."""
    if os.environ.get("RANK", "0") == "0":
        return exclusive(checkpoints)
    return contextlib.nullcontext()


def make_method(config: CellConfig, data: Data, initial: dict[str, Tensor] | None) -> Method:
    """The cell's method with its networks: one backbone or its features, heads drawn from different seeds."""
    kind = methods.method_class(config.method)
    num_classes = len(data.classes)
    size, seeds = config.training, [config.seed * 1000 + i for i in range(kind.num_networks)]
    if size.input == "features":
        inputs = data.train.faces.shape[-1]
        networks = [perceptron.build(num_classes, inputs, size.hidden, size.dropout, seed) for seed in seeds]
    else:
        networks = [backbones.build(size.backbone, num_classes, size.width, initial, seed) for seed in seeds]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1000 + 500)  # of whatever else a method has to learn
        return kind(config, networks, num_classes, data.train)


def fingerprint(config: CellConfig, data: Data, initial: dict[str, Tensor] | None) -> dict[str, str]:
    """Of all that decides the outcome, SHA-256 of each part: configuration with the code's hash; every name,
    label and pixel (or feature) of each split; the initial weights."""
    parts = {"configuration": hashlib.sha256(f"{torch.__version__}\0{config.model_dump_json()}".encode())}
    for name in ("train", "valid", "test"):
        split, parts[name] = getattr(data, name), (digest := hashlib.sha256())
        digest.update("\n".join(split.ids).encode())
        digest.update(split.labels.numpy().tobytes() + split.origin.numpy().tobytes())
        for start in range(0, len(split.ids), HASHED_AT_ONCE):
            digest.update(split.faces[start : start + HASHED_AT_ONCE].contiguous().numpy())
    parts["initial"] = hashlib.sha256()
    for name, value in (initial or {}).items():
        parts["initial"].update(name.encode() + value.numpy().tobytes())
    return {name: digest.hexdigest() for name, digest in parts.items()}
