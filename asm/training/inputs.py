"""What a cell is trained on, from the files of the stages before."""

from pathlib import Path

from torch import Tensor

from asm.basics.files import read_csv
from asm.faces import store
from asm.methods.config import CellConfig
from asm.parts import bank
from asm.parts.batches import Data, cell_data
from asm.parts.weights import read_weights


def read(
    config: CellConfig, dataset: str, noise: str, init: str, folder: Path = Path("data")
) -> tuple[Data, dict[str, Tensor] | None]:
    """A cell's data and initial weights (None: random ones).

    Args:
        dataset: `folder`/aligned/<dataset> or, of a frozen backbone, `folder`/features/<dataset>.
        noise: the given labels are in `folder`/labels/<dataset>_<noise>.
        init: the initial weights are in `folder`/init/<init>.

    Raises:
        InputError: a part is missing or unreadable, or the parts do not fit together.
    """
    weights, size = folder / "init" / init / "weights.safetensors", config.training
    if size.input == "features":  # the weights are those of the frozen backbone
        load, initial = bank.load, None
    else:
        load = store.load
        initial = read_weights(weights, size.backbone, size.width) if weights.is_file() else None
    labels = folder / "labels" / f"{dataset}_{noise}" / "labels.csv"
    given = read_csv(labels, {"id": str, "given": int, "true": int}, "run the corrupt stage again")
    return cell_data(load(folder / size.input / dataset), given), initial
