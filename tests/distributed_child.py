"""Started by torchrun in test_distributed.py: each process writes what it has to the folder given."""

import contextlib
import sys
from pathlib import Path

import torch
from tiny import make_config, make_data, make_method

from asm.parts import distributed
from asm.training import cell, epoch

CPU = torch.device("cpu")
FROZEN = {
    "training": {"batch_size": 8},
    "optimizer": {"kind": "sgd", "lr": 0.001, "momentum": 0.0, "weight_decay": 0.0},
    "augment": {"flip": 0.0, "erasing": 0.0},
}


def mining() -> dict:
    """ASM's mining of 700 samples, and how many images went through this process's networks."""
    method = make_method("asm", make_data(train=700))
    seen = []
    method.networks[0].stem[0].register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    method.start_epoch(3)
    return {"subset": method.subset, "thresholds": method.clean_threshold, "images": sum(seen)}


def one_epoch(name: str) -> dict:
    """All tensors of a method after an epoch of 31 samples, its normalisation layers frozen: a part's own
    statistics are the one thing that several processes do differently."""
    data = make_data(train=31)
    method = make_method(name, data, **FROZEN)
    method.train = lambda mode=True: torch.nn.Module.train(method, False)
    optimizer = cell.build_optimizer(method, method.config.optimizer)
    logs = epoch.run_epoch(distributed.wrap(method), optimizer, data.train, 1)
    return {"state": method.state_dict(), "loss": logs["loss_total"]}


def buffers() -> dict:
    """Rows that either process changed, and a mean."""
    method = make_method("scn")
    before = distributed.copy_buffers(method)
    method.next_labels[distributed.rank()] = 2 - distributed.rank()  # rows 0 and 1 become 2 and 1
    method.networks[0].stem[1].running_mean.fill_(distributed.rank() + 1.0)
    distributed.merge_buffers(method, before)
    return {"labels": method.next_labels, "mean": method.networks[0].stem[1].running_mean}


def stop_before(last: int) -> None:
    real = cell.set_rates

    def stopping(optimizer, options, number, epochs):
        if number == last:
            raise KeyboardInterrupt
        return real(optimizer, options, number, epochs)

    cell.set_rates = stopping


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with distributed.group(CPU):
        found = {
            "mining": mining(),
            "epoch": {name: one_epoch(name) for name in ("baseline", "asm")},
            "buffers": buffers(),
            "few": make_method("asm").predict_all(make_data().test.faces),  # fewer batches than processes
        }
        torch.save(found, folder / f"{distributed.rank()}.pt")
        stop_before(3)
        cell.distributed.group = lambda device: contextlib.nullcontext()  # it has been joined already
        try:
            cell.train(
                make_config(), make_data(), None, folder / "out", folder / "ck", folder / "timing.csv", CPU
            )
        except KeyboardInterrupt:
            print("stopped")
