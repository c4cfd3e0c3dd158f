"""torchvision's ResNet-18, trained on ImageNet."""

from asm.parts.weights.base import FromFile


class ImageNet(FromFile):
    """A state dict with torchvision's names."""

    about = "ImageNet pre-training; the paper starts from MS-Celeb-1M weights"
    licence = "torchvision's ImageNet weights: BSD-3-Clause; ImageNet itself is for research only"
    where_to_get = (
        "torchvision's resnet18 weights IMAGENET1K_V1 (resnet18-f37072fd.pth): on a machine with internet, "
        "`python -c \"from torchvision.models import resnet18; resnet18(weights='IMAGENET1K_V1')\"` saves "
        "the file under ~/.cache/torch/hub/checkpoints"
    )
