"""Benchmark 4: the weak and the strong view against torchvision's transforms, image by image."""

import torch
import usual_way
from common import asm_config, paired, random_faces, ratio
from torchvision.transforms.functional import to_pil_image

from asm.parts.views import strong_view, weak_view


def augmentation(
    device: torch.device, *, count: int, image_size: int, repeats: int
) -> dict[str, dict[str, object]]:
    """Images/s of both, from decoded images to normalised tensors on the device; on one thread of a CPU."""
    config = asm_config(image_size, width=64, batch_size=count)
    faces = random_faces(count, image_size)
    images = [to_pil_image(face.permute(2, 0, 1)) for face in faces]
    resident, generator = faces.to(device), torch.Generator().manual_seed(0)
    found = {}
    for name, ours, theirs in (
        ("weak", lambda: weak_view(resident, config.augment, generator), usual_way.weak),
        ("strong", lambda: strong_view(resident, config.strong_augment, generator), usual_way.strong),
    ):
        one_by_one, batched = paired(
            lambda theirs=theirs: torch.stack([theirs(image) for image in images]).to(device),
            ours,
            repeats,
            device,
        )
        found[name] = {
            "image_size": image_size,
            "batch_size": count,
            "images_per_second_torchvision": round(count / min(one_by_one)),
            "images_per_second": round(count / min(batched)),
            **ratio(one_by_one, batched),
        }
    return found
