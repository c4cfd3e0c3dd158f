"""What the benchmarks share: a machine's description, paired timings, results as json, ASM's settings.

Needs torch, torchvision, numpy, pandas, Pillow, pydantic and PyYAML, as all that benchmarks/gpu.py imports.
"""

import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that it runs where the project is not installed

from asm import mining  # noqa: E402
from asm.basics.yaml import parse, read_yaml  # noqa: E402
from asm.methods import cell_config  # noqa: E402
from asm.methods.asm import ASM  # noqa: E402
from asm.methods.config import COMMON_SECTIONS, CellConfig  # noqa: E402
from asm.parts import backbones  # noqa: E402
from asm.parts.batches import Samples  # noqa: E402
from asm.training.epoch import run_epoch  # noqa: E402
from asm.training.optimization import build_optimizer  # noqa: E402

RESULTS = Path(__file__).parent / "results"
# What pipeline.py copies and starts of the project's programs
CODE, DRIVER = ("asm", "stages", "driver"), "driver/repro.py"
CLASSES, AFTER_WARMUP = 8, 11
# Of a training set with 30 % wrong labels, as ASM splits it in the reports; the work of a step depends on the
# number of noisy samples, which an untrained network would get wrong.
SHARES = {mining.CLEAN: 0.50, mining.AMBIGUOUS: 0.22, mining.NOISY: 0.28}


def machine(device: torch.device) -> dict[str, object]:
    """What a figure was measured on, and when."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(": ")[1] for line in lines if "model name" in line), platform.machine())
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cpu}, {capability}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def paired(
    first: Callable[[], object], second: Callable[[], object], repeats: int, device: torch.device
) -> tuple[list[float], list[float]]:
    """Seconds of both, measured in turn after one unmeasured call of each, so that a machine that slows down
    does so for both."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for function, seconds in zip((first, second), times, strict=True):
            taken = seconds_of(function, device)
            if repeat:
                seconds.append(taken)
    return times


def seconds_of(function: Callable[[], object], device: torch.device) -> float:
    """The clock's seconds of one call, a GPU's work included."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - started


def ratio(numerator: list[float], denominator: list[float]) -> dict[str, float]:
    """Median, smallest and largest of the pairs' ratios."""
    pairs = [a / b for a, b in zip(numerator, denominator, strict=True)]
    found = {"ratio": statistics.median(pairs), "smallest": min(pairs), "largest": max(pairs)}
    return {name: round(value, 3) for name, value in found.items()}


def slope(values: dict[int, float]) -> float:
    """Exponent b of y ~ x^b, by least squares on the logarithms of x -> y: 1 is linear."""
    a, b = (torch.tensor(list(v), dtype=torch.float64).log() for v in (values, values.values()))
    a, b = a - a.mean(), b - b.mean()
    return round(float((a * b).sum() / (a * a).sum()), 3)


def write(folder: str, name: str, device: torch.device, **result: object) -> None:
    """Write results/<folder>/<name>.json, and print a line."""
    path = RESULTS / folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(device), **result}, indent=1) + "\n")
    print(f"{path.relative_to(ROOT)}: {json.dumps(result)[:400]}", flush=True)


def asm_config(
    *, image_size: int, width: int, batch_size: int, precision: str = "fp32", backbone: str = "resnet18"
) -> CellConfig:
    """A cell of ASM's with the values of params.yaml and the paper's epochs, for a run of this size."""
    params = read_yaml(ROOT / "params.yaml")
    training = {"input": "aligned", "epochs": 100, "warmup_epochs": 10}
    training |= {"image_size": image_size, "width": width, "batch_size": batch_size}
    content = {
        **dict.fromkeys(("cell", "dataset", "noise", "init", "code"), ""),
        **{"method": "asm", "seed": 0, "schedule": "fair"},
        "training": {**training, "precision": precision, "backbone": backbone},
        **{name: params[name] for name in (*COMMON_SECTIONS, *ASM.sections)},
    }
    return parse(cell_config(ASM), content, "params.yaml")


def random_samples(count: int, size: int, device: torch.device) -> Samples:
    """Random pixels and labels."""
    faces = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, device=device)
    labels = torch.randint(0, CLASSES, (count,), device=device)
    return Samples([str(i) for i in range(count)], faces, labels, torch.zeros_like(labels))


class FixedShares(ASM):
    """ASM whose mining does all its work, and then hands out the subsets of `SHARES`."""

    def start_epoch(self, epoch: int) -> dict[str, float]:
        found = super().start_epoch(epoch)
        edges = torch.tensor([0.0, *SHARES.values()]).cumsum(0) * len(self.subset)
        for code, start, stop in zip(SHARES, edges, edges[1:], strict=False):
            self.subset[round(float(start)) : round(float(stop))] = code
        return found


class Run:
    """ASM as the training loop has it, on the samples' device; `shape` as for `asm_config`."""

    def __init__(self, samples: Samples, **shape: object) -> None:
        self.samples, self.config = samples, asm_config(**shape)
        training = self.config.training
        networks = [
            backbones.build(training.backbone, CLASSES, training.width, None, head_seed=i) for i in range(2)
        ]
        self.method = FixedShares(self.config, networks, CLASSES, samples).to(samples.labels.device)
        self.method.to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.method, self.config.optimizer)

    def epoch(self) -> None:
        """Mining and one pass of training."""
        self.method.start_epoch(AFTER_WARMUP)
        run_epoch(self.method, self.optimizer, self.samples, AFTER_WARMUP)
