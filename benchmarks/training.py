"""Benchmarks 1, 2 and 8: ASM's epoch against what its networks alone need, against the usual way of writing
it, and against the amount of data. Used by cpu.py and gpu.py."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import usual_way
from common import (
    CLASSES,
    asm_config,
    make_asm,
    paired,
    random_faces,
    random_samples,
    ratio,
    seconds_of,
    slope,
)
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from asm.methods.base import EVALUATION_BATCH
from asm.parts.batches import Samples
from asm.training.epoch import run_epoch

AFTER_WARMUP = 11


def step_ceiling(
    device: torch.device,
    *,
    count: int,
    image_size: int,
    width: int,
    batch_size: int,
    precision: str,
    repeats: int,
) -> dict[str, object]:
    """Seconds of the networks alone on resident random tensors, over ASM's epoch. Both have the same forward
    passes in evaluation mode, and the same forward and backward passes in training mode."""
    samples = random_samples(count, image_size, device)
    method, optimizer = make_asm(asm_config(image_size, width, batch_size, precision), samples)
    sizes: list[int] = []  # of the batches that go through each network
    hook = method.networks[0].stem.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    epoch(method, optimizer, samples)
    hook.remove()
    mining = len(range(0, count, EVALUATION_BATCH))
    largest = torch.randn(max(sizes), 3, image_size, image_size, device=device)
    largest = largest.contiguous(memory_format=torch.channels_last)

    def networks_alone() -> None:
        method.eval()
        with torch.inference_mode(), method.autocast():
            for size in sizes[:mining]:
                method.logits(largest[:size])
        method.train()
        for size in sizes[mining:]:
            with method.autocast():
                z1, z2 = method.logits(largest[:size])
            method.zero_grad(set_to_none=True)
            (z1.sum() + z2.sum()).backward()

    alone, whole = paired(networks_alone, lambda: epoch(method, optimizer, samples), repeats, device)
    work = arithmetic(networks_alone)
    return {
        "image_size": image_size,
        "width": width,
        "batch_size": batch_size,
        "precision": precision,
        "samples": count,
        "seconds_networks_alone": round(min(alone), 3),
        "seconds_epoch": round(min(whole), 3),
        "samples_per_second": round(count / min(whole), 1),
        **ratio(alone, whole),
        "gflops_networks_alone": round(work / min(alone) / 1e9, 1),
        "gflops_matmul": round(matmul_speed(device, precision) / 1e9, 1),
        "not_in_the_networks": outside_networks(method, optimizer, samples),
    }


def half_precision(
    device: torch.device,
    *,
    count: int,
    image_size: int,
    backbone: str,
    width: int,
    batch_size: int,
    repeats: int,
) -> dict[str, object]:
    """Seconds of ASM's epoch in fp32 over its seconds in bf16; the same images, batches and subsets."""
    samples = random_samples(count, image_size, device)
    pairs = [
        make_asm(asm_config(image_size, width, batch_size, precision, backbone), samples)
        for precision in ("fp32", "bf16")
    ]
    fp32, bf16 = paired(*(lambda pair=pair: epoch(*pair, samples) for pair in pairs), repeats, device)
    return {
        "image_size": image_size,
        "backbone": backbone,
        "width": width,
        "batch_size": batch_size,
        "samples": count,
        "samples_per_second_fp32": round(count / min(fp32), 1),
        "samples_per_second_bf16": round(count / min(bf16), 1),
        **ratio(fp32, bf16),
    }


def epoch(method: torch.nn.Module, optimizer: torch.optim.Optimizer, samples: Samples) -> None:
    """Mining and one pass of training."""
    method.start_epoch(AFTER_WARMUP)
    run_epoch(method, optimizer, samples, AFTER_WARMUP)


def arithmetic(function: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products in a call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def matmul_speed(device: torch.device, precision: str) -> float:
    """Operations per second of one large matrix product: what the networks could reach at best."""
    side = 8192 if device.type == "cuda" else 1536
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    times = [seconds_of(lambda: a @ a, device) for _ in range(10)]
    return 2 * side**3 / min(times)


def outside_networks(
    method: torch.nn.Module, optimizer: torch.optim.Optimizer, samples: Samples
) -> dict[str, float]:
    """Shares of one epoch's time on the device by part, from torch.profiler: what limits the ratio above."""
    activity = torch.profiler.ProfilerActivity
    cuda = samples.labels.device.type == "cuda"
    with torch.profiler.profile(activities=[activity.CPU, *([activity.CUDA] if cuda else [])]) as profile:
        epoch(method, optimizer, samples)
    groups = {"convolution": 0.0, "batch_norm": 0.0, "optimiser": 0.0}
    other: dict[str, float] = {}
    for event in profile.key_averages():
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        if spent <= 0:
            continue
        if "conv" in event.key:
            groups["convolution"] += spent
        elif "batch_norm" in event.key:
            groups["batch_norm"] += spent
        elif "adam" in event.key.lower():
            groups["optimiser"] += spent
        else:
            other[event.key] = spent
    everything = sum(groups.values()) + sum(other.values())
    largest = sorted(other.items(), key=lambda item: -item[1])[:8]
    return {name[:60]: round(spent / everything, 4) for name, spent in [*groups.items(), *largest]}


def against_usual_way(
    device: torch.device,
    *,
    count: int,
    image_size: int,
    width: int,
    batch_size: int,
    precision: str,
    repeats: int,
) -> dict[str, object]:
    """Seconds of the epoch as the field writes it, over ours; the same images, batch size and subsets."""
    faces, labels = random_faces(count, image_size), torch.randint(0, CLASSES, (count,))
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, face in enumerate(faces.numpy()):
            files.append(Path(folder) / f"{number}.jpg")
            files[-1].write_bytes(_jpeg(face))
        decoded = torch.from_numpy(np.stack([np.asarray(Image.open(file)) for file in files]))
        samples = Samples([file.stem for file in files], decoded, labels, torch.zeros_like(labels)).to(device)
        method, optimizer = make_asm(asm_config(image_size, width, batch_size, precision), samples)
        networks, usual_optimizer = usual_way.build(CLASSES, width, device)
        method.start_epoch(AFTER_WARMUP)
        subset = dict(enumerate(method.subset.tolist()))

        def usual() -> None:
            usual_way.epoch(
                files,
                labels.tolist(),
                networks,
                usual_optimizer,
                CLASSES,
                batch_size,
                lambda _: subset,
                device,
            )

        theirs, ours = paired(usual, lambda: epoch(method, optimizer, samples), repeats, device)
        at_best = arithmetic(lambda: epoch(method, optimizer, samples)) / matmul_speed(device, precision)
    return {
        "image_size": image_size,
        "width": width,
        "batch_size": batch_size,
        "precision": f"fp32 / {precision}",
        "samples": count,
        "samples_per_second_usual": round(count / min(theirs), 2),
        "samples_per_second": round(count / min(ours), 2),
        **ratio(theirs, ours),
        # were our convolutions as fast as one large matrix product, and all else free
        "largest_possible_ratio": round(min(theirs) / at_best, 2),
    }


def _jpeg(face: np.ndarray) -> bytes:
    """A file as large as a photo's: noise blurred by enlargement."""
    small = Image.fromarray(face).resize((face.shape[1] // 8, face.shape[0] // 8))
    file = io.BytesIO()
    small.resize((face.shape[1], face.shape[0]), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def scaling(
    device: torch.device,
    counts: list[int],
    count_size: int,
    sizes: list[int],
    size_count: int,
    *,
    width: int,
    batch_size: int,
    precision: str,
) -> dict[str, object]:
    """Seconds of an epoch by the number of samples, and by the image's side; the exponents of both."""

    def seconds(count: int, size: int) -> float:
        samples = random_samples(count, size, device)
        method, optimizer = make_asm(asm_config(size, width, batch_size, precision), samples)
        warm = random_samples(4 * batch_size, size, device)
        warm_method, warm_optimizer = make_asm(method.config, warm)
        epoch(warm_method, warm_optimizer, warm)
        return round(seconds_of(lambda: epoch(method, optimizer, samples), device), 3)

    by_count = {count: seconds(count, count_size) for count in counts}
    by_size = {size: seconds(size_count, size) for size in sizes}
    return {
        "width": width,
        "batch_size": batch_size,
        "precision": precision,
        "by_samples": {"image_size": count_size, "seconds": by_count},
        "by_image_size": {"samples": size_count, "seconds": by_size},
        "exponent_samples": slope(list(map(float, by_count)), list(by_count.values())),
        "exponent_image_size": slope(list(map(float, by_size)), list(by_size.values())),
    }
