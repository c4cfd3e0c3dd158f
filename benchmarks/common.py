"""What the benchmarks share: a machine's description, paired timings, results as json, ASM's settings.

Needs torch, torchvision, numpy, pandas, Pillow, pydantic and PyYAML, like everything that benchmarks/gpu.py
imports.
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
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that it runs where the project is not installed

from asm import mining  # noqa: E402
from asm.basics.yaml import parse, read_yaml  # noqa: E402
from asm.methods.asm import ASM  # noqa: E402
from asm.methods.config import COMMON_SECTIONS, CellConfig, cell_config  # noqa: E402
from asm.parts import backbones  # noqa: E402
from asm.parts.batches import Samples  # noqa: E402
from asm.training.optimization import build_optimizer  # noqa: E402

RESULTS = Path(__file__).parent / "results"
CLASSES = 8
# Of a training set with 30 % wrong labels, as ASM splits it in the reports; the work of a step depends on the
# number of noisy samples, which an untrained network would get wrong.
SHARES = {mining.CLEAN: 0.50, mining.AMBIGUOUS: 0.22, mining.NOISY: 0.28}


def machine(device: torch.device) -> dict[str, object]:
    """What a figure was measured on, and when."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
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
    """Seconds of both, in turn, so that a machine that becomes slower is so for both; after one of each."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for function, seconds in zip((first, second), times, strict=True):
            taken = seconds_of(function, device)
            if repeat:
                seconds.append(taken)
    return times


def seconds_of(function: Callable[[], object], device: torch.device) -> float:
    """The clock's seconds of one call, a GPU's work included."""
    synchronise(device)
    started = time.perf_counter()
    function()
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratio(numerator: list[float], denominator: list[float]) -> dict[str, float]:
    """Median, smallest and largest of the pairs' ratios."""
    pairs = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return {
        "ratio": round(statistics.median(pairs), 3),
        "smallest": round(min(pairs), 3),
        "largest": round(max(pairs), 3),
    }


def slope(x: list[float], y: list[float]) -> float:
    """Exponent b of y ~ x^b, by least squares on logarithms: 1 is linear."""
    a, b = (torch.tensor(v, dtype=torch.float64).log() for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    return round(float((a * b).sum() / (a * a).sum()), 3)


def write(folder: str, name: str, device: torch.device, **result: object) -> None:
    """results/<folder>/<name>.json, and a line on the screen."""
    path = RESULTS / folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(device), **result}, indent=1) + "\n")
    print(f"{path.relative_to(ROOT)}: {json.dumps(result)[:400]}", flush=True)


def asm_config(
    image_size: int, width: int, batch_size: int, precision: str = "fp32", backbone: str = "resnet18"
) -> CellConfig:
    """A cell of ASM's with the values of params.yaml and the paper's epochs, for a run of this size."""
    params = read_yaml(ROOT / "params.yaml")
    content = {
        **dict.fromkeys(("cell", "dataset", "noise", "init", "code"), ""),
        "method": "asm",
        "seed": 0,
        "schedule": "fair",
        "training": {
            "input": "aligned",
            "image_size": image_size,
            "backbone": backbone,
            "width": width,
            "epochs": 100,
            "warmup_epochs": 10,
            "batch_size": batch_size,
            "precision": precision,
        },
        **{name: params[name] for name in (*COMMON_SECTIONS, *ASM.sections)},
    }
    return parse(cell_config(ASM), content, "params.yaml")


def random_faces(count: int, size: int, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [count, size, size, 3]."""
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, device=device)


def random_samples(count: int, size: int, device: torch.device) -> Samples:
    """Random pixels and labels."""
    labels = torch.randint(0, CLASSES, (count,), device=device)
    ids = [str(i) for i in range(count)]
    return Samples(ids, random_faces(count, size, device), labels, torch.zeros_like(labels))


class FixedShares(ASM):
    """ASM whose mining does all its work, and then hands out the subsets of `SHARES`."""

    def split(self, mean: Tensor, labels: Tensor) -> Tensor:
        codes = super().split(mean, labels)
        edges = torch.tensor([0.0, *SHARES.values()]).cumsum(0) * len(codes)
        for code, start, stop in zip(SHARES, edges, edges[1:], strict=False):
            codes[round(float(start)) : round(float(stop))] = code
        return codes


def make_asm(config: CellConfig, samples: Samples) -> tuple[FixedShares, torch.optim.Optimizer]:
    """The method as the training loop has it, on the samples' device."""
    training = config.training
    networks = [
        backbones.build(training.backbone, CLASSES, training.width, None, head_seed=i) for i in range(2)
    ]
    method = FixedShares(config, networks, CLASSES, samples).to(samples.labels.device)
    method.to(memory_format=torch.channels_last)
    return method, build_optimizer(method, config.optimizer)
