"""One epoch: its order, its batches, the steps, and the evaluation after it.

Every random number of an epoch comes from generators seeded by (seed, epoch), so an epoch does not depend on
how the process got there.
"""

import hashlib
from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn

from asm.basics.errors import InputError
from asm.methods.base import Batch, Method
from asm.parts import distributed
from asm.parts.batches import Data, Samples, fetch

CHECK_EVERY = 64  # steps between looks at the losses: looking at each would stall a GPU


class NonFiniteLoss(InputError):
    """A loss became NaN or infinite; the message names epoch, step and the samples' ids."""


def run_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, samples: Samples, epoch: int
) -> dict[str, float]:
    """One pass over the training samples; returns each loss's mean over the samples as `loss_<name>`.

    `model` is the method, wrapped (`distributed.wrap`) where several processes share the work.
    """
    method: Method = distributed.unwrap(model)
    config, device = method.config, samples.labels.device
    seed = epoch_seed(config.seed, epoch)
    generator = Generator().manual_seed(seed)
    order = draw_order(samples.labels, config.sampling.balanced, generator)
    if rank := distributed.rank():
        generator.manual_seed(seed ^ rank)  # the order is everybody's, the views are not
    torch.manual_seed(seed ^ rank)  # dropout's only source
    whole = list(batches(order, config.training.batch_size, 2 * distributed.size()))
    parts = [distributed.my_part(part) for part in whole]
    before = distributed.copy_buffers(method)
    sums: dict[str, Tensor] = {}
    totals: list[Tensor] = []
    method.train()
    for step, faces in enumerate(fetch(samples.faces, parts)):
        rows = parts[step]
        index = rows.to(device, non_blocking=True)
        with method.autocast():
            losses = model(Batch(index, rows, faces, samples.labels[index], epoch, generator))
        optimizer.zero_grad(set_to_none=True)
        # the gradients' mean over processes is the batch's mean, also where their parts differ by a sample
        scale = len(rows) * distributed.size() / len(whole[step])
        (losses["total"] if scale == 1 else losses["total"] * scale).backward()
        optimizer.step()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.detach() * len(rows)
        totals.append(losses["total"].detach())
        if len(totals) == CHECK_EVERY or step == len(parts) - 1:
            _check_finite(totals, parts[step + 1 - len(totals) :], samples.ids, epoch)
            totals = []
    distributed.merge_buffers(method, before)
    return {
        f"loss_{name}": float(distributed.sum_over_processes(value)) / len(order)
        for name, value in sums.items()
    }


def draw_order(labels: Tensor, balanced: bool, generator: Generator) -> Tensor:
    """Rows of one epoch, int64 [N]: each once in random order, or `balanced`: drawn with replacement so that
    all classes come equally often."""
    if not balanced:
        return torch.randperm(len(labels), generator=generator)
    labels = labels.cpu()
    weights = 1 / torch.bincount(labels).double()[labels]
    return torch.multinomial(weights, len(labels), replacement=True, generator=generator)


def batches(order: Tensor, size: int, smallest: int = 2) -> Iterator[Tensor]:
    """Split `order` into batches; a last one of fewer than `smallest` samples joins the one before (BatchNorm
    needs two in each process)."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) < smallest:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts


def evaluate(method: Method, data: Data) -> tuple[dict[str, float], Tensor]:
    """The accuracy on validation and test of each network and of their mean, whose mean class accuracy too;
    and the test probabilities [networks, N, K]."""
    scores: dict[str, float] = {}
    test = method.predict_all(data.test.faces)
    for name, samples in (("test", data.test), ("valid", data.valid)):
        if not samples.ids:
            continue
        probs = test if name == "test" else method.predict_all(samples.faces)
        mean = probs.mean(0)
        scores[f"{name}_accuracy"] = _accuracy(mean, samples.labels)
        scores[f"{name}_mean_class_accuracy"] = _mean_class_accuracy(mean, samples.labels)
        if len(probs) > 1:
            for i, one in enumerate(probs, start=1):
                scores[f"{name}_accuracy_net{i}"] = _accuracy(one, samples.labels)
    return scores, test.cpu()


def epoch_seed(seed: int, epoch: int) -> int:
    """A 63-bit seed for one epoch of one run; unrelated for neighbouring seeds and epochs."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _accuracy(probs: Tensor, labels: Tensor) -> float:
    return float((probs.argmax(dim=1) == labels).double().mean())


def _mean_class_accuracy(probs: Tensor, labels: Tensor) -> float:
    """The mean over the classes that occur in `labels` of the share recognised."""
    right = (probs.argmax(dim=1) == labels).double()
    return float(torch.stack([right[labels == k].mean() for k in labels.unique()]).mean())


def _check_finite(totals: list[Tensor], rows: list[Tensor], ids: list[str], epoch: int) -> None:
    finite = torch.stack(totals).isfinite().tolist()
    if not all(finite):
        index = rows[finite.index(False)].tolist()
        raise NonFiniteLoss(
            f"epoch {epoch}: the loss of a batch is not finite; its samples: "
            f"{', '.join(ids[i] for i in index)}. "
            "Lower optimizer.lr, use precision fp32, or look at these images"
        )
