"""ASM's epoch against the usual way of writing it, in fp32 against bf16, by the size of the data; mining."""

import tempfile
from pathlib import Path

import numpy as np
import torch
import usual_way
from common import AFTER_WARMUP, CLASSES, Run, paired, random_samples, ratio, seconds_of, slope
from PIL import Image

from asm import mining
from asm.parts.batches import Samples


def half_precision(device: torch.device, *, count: int, repeats: int, **shape: object) -> dict[str, object]:
    """Seconds of ASM's epoch in fp32 over its seconds in bf16; the same images, batches and subsets."""
    samples = random_samples(count, shape["image_size"], device)
    fp32, bf16 = (Run(samples, precision=precision, **shape) for precision in ("fp32", "bf16"))
    slow, fast = paired(fp32.epoch, bf16.epoch, repeats, device)
    return {
        **shape,
        "samples": count,
        "samples_per_second_fp32": round(count / min(slow), 1),
        "samples_per_second_bf16": round(count / min(fast), 1),
        **ratio(slow, fast),
    }


def against_usual_way(
    device: torch.device, *, count: int, repeats: int, **shape: object
) -> dict[str, object]:
    """Seconds of the epoch as the field writes it, over ours; the same images, batch size and subsets."""
    size, batch = shape["image_size"], shape["batch_size"]
    random = random_samples(count, size, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{name}.jpg") for name in random.ids]
        for file, face in zip(files, random.faces.numpy(), strict=True):
            small = Image.fromarray(face).resize(
                (size // 8, size // 8)
            )  # enlarged: a file as large as a photo's
            small.resize((size, size), Image.Resampling.BICUBIC).save(file, quality=90)
        decoded = torch.from_numpy(np.stack([np.asarray(Image.open(file)) for file in files]))
        run = Run(Samples(random.ids, decoded, random.labels, random.origin).to(device), **shape)
        run.method.start_epoch(AFTER_WARMUP)
        subset = dict(enumerate(run.method.subset.tolist()))
        usual = usual_way.UsualWay(files, random.labels.tolist(), shape["width"], batch, device)
        theirs, ours = paired(lambda: usual.epoch(subset), run.epoch, repeats, device)
    return {
        **shape,
        "precision": f"fp32 / {shape['precision']}",
        "samples": count,
        "samples_per_second_usual": round(count / min(theirs), 2),
        "samples_per_second": round(count / min(ours), 2),
        **ratio(theirs, ours),
    }


def scaling(
    device: torch.device,
    counts: list[int],
    count_size: int,
    sizes: list[int],
    size_count: int,
    **shape: object,
) -> dict[str, object]:
    """Seconds of an epoch by the number of samples, and by the image's side; the exponents of both."""

    def seconds(count: int, size: int) -> float:
        run = Run(random_samples(count, size, device), image_size=size, **shape)
        Run(random_samples(4 * shape["batch_size"], size, device), image_size=size, **shape).epoch()  # warm
        return round(seconds_of(run.epoch, device), 3)

    by_count = {count: seconds(count, count_size) for count in counts}
    by_size = {size: seconds(size_count, size) for size in sizes}
    return {
        **shape,
        "by_samples": {"image_size": count_size, "seconds": by_count},
        "by_image_size": {"samples": size_count, "seconds": by_size},
        "exponent_samples": slope(by_count),
        "exponent_image_size": slope(by_size),
    }


def mining_speed(device: torch.device, counts: list[int], repeats: int = 15) -> dict[str, object]:
    """Milliseconds (the median) of Eq. 1-6 on probabilities as sharp as a trained pair's, by the number of
    samples; the exponent of their growth."""
    milliseconds = {}
    previous = torch.full((CLASSES,), 0.8, device=device)
    for count in counts:
        logits = torch.randn(count, CLASSES, device=device)
        labels = torch.randint(0, CLASSES, (count,), device=device)
        logits[torch.arange(0, count, 2, device=device), labels[::2]] += 4.0  # half are recognised
        probs = logits.softmax(dim=1), (logits + 0.5 * torch.randn_like(logits)).softmax(dim=1)

        def mine(probs: tuple[torch.Tensor, ...] = probs, labels: torch.Tensor = labels) -> torch.Tensor:
            mean = mining.mean_probabilities(*probs)
            clean = mining.clean_thresholds(mean, labels, previous)
            confidence = mining.confidence(mean, labels, "label")
            return mining.partition(confidence, labels, clean, mining.noisy_thresholds(clean))

        times = sorted(seconds_of(mine, device) for _ in range(repeats))
        milliseconds[count] = round(1000 * times[repeats // 2], 3)
    return {"classes": CLASSES, "milliseconds": milliseconds, "exponent": slope(milliseconds)}
