"""Several processes on one cell, one a GPU, started by torchrun. Without torchrun every function here is the
trivial one of a single process, so the loop has no second path.

Each process takes its part of every batch, and DistributedDataParallel averages the gradients. Batch
normalisation sees a process's part, as do methods that compare the samples of a batch with each other.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@contextlib.contextmanager
def group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, if it did: NCCL between GPUs, gloo on CPUs."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        wait()  # nobody leaves while another still needs an answer
    finally:
        dist.destroy_process_group()


def size() -> int:
    """How many processes work on this cell."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process; process 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait() -> None:
    """Wait until all processes have come here."""
    if size() > 1:
        dist.barrier()


def wrap(model: nn.Module) -> nn.Module:
    """`model` with its gradients averaged over the processes after each backward pass."""
    if size() == 1:
        return model
    # buffers are merged once an epoch instead
    unused = model.trains_in_phases
    return DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=unused)


def unwrap(model: nn.Module) -> nn.Module:
    """What `wrap` was given."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def my_part(items: Sequence) -> Sequence:
    """Every size()-th item: this process's part of the rows [B] of a batch, or of anything else."""
    return items[rank() :: size()]


def gather(done: list[Tensor], parts: Sequence[Tensor]) -> Tensor:
    """Put together what the processes computed of `my_part(parts)`.

    Args:
        done: this process's results, [networks, len(part), ...] each; a process without a part passes one
            result of the right shape, which is ignored.
        parts: all processes' rows.

    Returns:
        [networks, N, ...], the same in all processes; a single process gets its results one after another.
    """
    if size() == 1:
        return torch.cat(done, dim=1)
    sample = done[0]
    whole = sample.new_zeros(sample.shape[0], sum(map(len, parts)), *sample.shape[2:])
    for rows, values in zip(my_part(parts), done, strict=False):
        whole[:, rows.to(whole.device)] = values
    return sum_over_processes(whole)  # each row is 0 in all but one


def sum_over_processes(values: Tensor) -> Tensor:
    """The processes' sum of `values`, the same in all of them; in place."""
    if size() > 1:
        dist.all_reduce(values)
    return values


@torch.no_grad()
def merge_buffers(model: nn.Module, before: dict[str, Tensor]) -> None:
    """Give all processes the same buffers: floats (running statistics, centres) their mean; integers (labels
    that a method rewrites) the value of whichever process changed them since `before`."""
    if size() == 1:
        return
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(sum_over_processes(buffer.clone()) / size())
            continue
        unchanged = torch.iinfo(buffer.dtype).min
        changed = torch.where(buffer == before[name], unchanged, buffer)
        dist.all_reduce(changed, dist.ReduceOp.MAX)
        buffer.copy_(torch.where(changed == unchanged, before[name], changed))


def copy_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The integer buffers, for `merge_buffers`."""
    if size() == 1:
        return {}
    return {name: b.clone() for name, b in model.named_buffers() if not b.is_floating_point()}
