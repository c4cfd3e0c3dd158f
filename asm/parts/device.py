"""Where a stage computes: the GPU if there is one, else one thread of a CPU."""

import contextlib
import ctypes
import os
import platform
import sys

import torch

from asm.basics.errors import InputError


def pick_device() -> torch.device:
    """The GPU if there is one; under torchrun this process's. On a CPU one thread: two cells side by side
    beat one cell on two threads, and the result does not depend on the number of cores. OMP_NUM_THREADS
    overrides it, which is said: sums in another order round otherwise.

    Raises:
        InputError: more processes than GPUs; OMP_NUM_THREADS is no number.
    """
    if torch.cuda.is_available():
        number = int(os.environ.get("LOCAL_RANK", "0"))
        if number >= torch.cuda.device_count():
            raise InputError(f"ASM_PROCESSES: there are only {torch.cuda.device_count()} GPUs here")
        torch.cuda.set_device(number)
        return torch.device("cuda", number)
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    if not threads.isdigit() or int(threads) == 0:
        raise InputError(f"OMP_NUM_THREADS: expected a number from 1, found '{threads}'")
    if threads != "1":
        print(f"OMP_NUM_THREADS: {threads} threads give other last digits than one", file=sys.stderr)
    torch.set_num_threads(int(threads))
    _keep_freed_memory()
    return torch.device("cpu")


def all_cores() -> torch.device:
    """The GPU if there is one, else all cores of the CPU, or as many as OMP_NUM_THREADS says."""
    device = pick_device()
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(os.cpu_count() or 1)
    return device


def warn_of_slow_bf16(device: torch.device) -> None:
    """Say so where bf16 would be computed without instructions for it, many times slower than fp32."""
    # other processors than x86 are not asked: torch does not know what they have
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return
    if not (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        print(
            "training.precision: bf16 takes many times as long as fp32 here, as this processor has neither "
            "AMX nor AVX512-BF16; set it to fp32, or train on another machine",
            file=sys.stderr,
        )


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next tensor. It would give it back to the system and get it again
    page by page, emptied each time: 5 % of a cell's time. Other C libraries go without."""
    trim_threshold, mmap_max = -1, -4  # names of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
