"""Gaps on a GPU: how long it waits between its kernels in the steps of an epoch."""

import torch
from common import FixedShares
from training import AFTER_WARMUP

from asm.parts.batches import Samples
from asm.training.epoch import run_epoch


def largest_gap(busy: list[tuple[float, float]]) -> float:
    """The longest time in which none of the intervals (start, end) runs, between the first and the last."""
    gap, until = 0.0, None
    for start, end in sorted(busy):
        if until is not None:
            gap = max(gap, start - until)
        until = end if until is None else max(until, end)
    return gap


def gaps(
    method: FixedShares, optimizer: torch.optim.Optimizer, samples: Samples, batch_size: int, path: str
) -> dict[str, float]:
    """Trace one epoch's steps, mining excluded, to `path` (for chrome://tracing); the largest gap between
    kernels as a share of a step."""
    activity = torch.profiler.ProfilerActivity
    method.start_epoch(AFTER_WARMUP)
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        run_epoch(method, optimizer, samples, AFTER_WARMUP)
        torch.cuda.synchronize()
    profile.export_chrome_trace(path)
    busy = [
        (event.time_range.start, event.time_range.end)
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.is_user_annotation
    ]
    steps = -(-len(samples.ids) // batch_size)
    span = max(end for _, end in busy) - min(start for start, _ in busy)
    return {
        "steps": steps,
        "step_ms": round(span / steps / 1000, 3),
        "largest_gap_ms": round(largest_gap(busy) / 1000, 3),
        "largest_gap_share_of_a_step": round(largest_gap(busy) / (span / steps), 4),
    }
