"""The paper's: ResNet-18 trained on MS-Celeb-1M."""

from asm.parts.weights.base import FromFile


class MSCeleb(FromFile):
    """torchvision's names, usually under `state_dict`."""

    about = "MS-Celeb-1M, from the user's file"
    licence = "MS-Celeb-1M weights, a file of the user's: no licence known, the data set was withdrawn"
    where_to_get = "resnet18_msceleb.pth, published with the FER repositories of DACL, RUL, EAC and DAN"
