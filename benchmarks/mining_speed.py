"""Benchmark 3: Eq. 1-6 for up to a million samples of eight classes."""

import torch
from common import CLASSES, seconds_of, slope

from asm import mining


def mining_speed(device: torch.device, counts: list[int], repeats: int = 15) -> dict[str, object]:
    """Milliseconds (the median) of thresholds, confidence and partition on probabilities of a trained pair's
    sharpness; the exponent of the growth with the number of samples."""
    milliseconds = {}
    for count in counts:
        logits = torch.randn(count, CLASSES, device=device)
        labels = torch.randint(0, CLASSES, (count,), device=device)
        logits[torch.arange(0, count, 2, device=device), labels[::2]] += 4.0  # half are recognised
        p1, p2 = logits.softmax(dim=1), (logits + 0.5 * torch.randn_like(logits)).softmax(dim=1)
        previous = torch.full((CLASSES,), 0.8, device=device)
        times = sorted(seconds_of(lambda: mine(p1, p2, labels, previous), device) for _ in range(repeats))  # noqa: B023
        milliseconds[count] = round(1000 * times[repeats // 2], 3)
    counts_ = [float(count) for count in milliseconds]
    return {
        "classes": CLASSES,
        "milliseconds": milliseconds,
        "exponent": slope(counts_, list(milliseconds.values())),
    }


def mine(p1: torch.Tensor, p2: torch.Tensor, labels: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
    """What ASM does between its forward passes and the first step."""
    mean = mining.mean_probabilities(p1, p2)
    clean = mining.clean_thresholds(mean, labels, previous)
    confidence = mining.confidence(mean, labels, "label")
    return mining.partition(confidence, labels, clean, mining.noisy_thresholds(clean))
