"""A second device that is none: it computes on the CPU, but tensors there and on the CPU do not mix.

What a GPU would refuse is refused (an operation on tensors of both). What would make a GPU wait can be
forbidden for a while (`host_waits_nowhere`): reading back a value or a tensor, and shapes that
depend on values.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretended"
aten = torch.ops.aten
# the two ways between the devices
TRANSFERS = {aten._to_copy.default, aten.copy_.default}
MASKED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
# what a GPU has to finish all its work for: values and shapes that the host needs
WAITS = {
    *(aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default),
    *(aten._unique2.default, aten.unique_dim.default, aten.bincount.default, aten.repeat_interleave.Tensor),
}


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float32]


_setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
DEVICE = torch.device(NAME, 0)


class Mixed(AssertionError):
    """An operation on tensors of both devices."""


class Waited(AssertionError):
    """Something that makes the host wait for the device."""


class Pretended(Tensor):
    """On `DEVICE`; `raw` holds its values, on the CPU."""

    @staticmethod
    def __new__(cls, raw: Tensor) -> "Pretended":
        return torch.Tensor._make_wrapper_subclass(
            cls,
            raw.shape,
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            layout=raw.layout,
            device=DEVICE,
            requires_grad=raw.requires_grad,
        )

    def __init__(self, raw: Tensor) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        return f"Pretended({self.raw})"

    def tolist(self) -> list:
        return self.cpu().tolist()

    def numpy(self) -> Any:
        raise Mixed("numpy knows no tensors of a device")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class _Created(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class _FromValues(TorchFunctionMode):
    """torch.tensor(..., device=...) does not ask dispatch modes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and str(kwargs.get("device", "")).startswith(NAME):
            return func(*args, **{k: v for k, v in kwargs.items() if k != "device"}).to(DEVICE)
        return func(*args, **kwargs)


@contextlib.contextmanager
def pretending() -> Iterator[None]:
    """Inside, what is created on `DEVICE` or sent there is there."""
    with _Created(), _FromValues():
        yield


_forbidden: list[str] = []


@contextlib.contextmanager
def host_waits_nowhere(where: str) -> Iterator[None]:
    """Raise `Waited` inside for all that would make the host wait."""
    _forbidden.append(where)
    try:
        yield
    finally:
        _forbidden.pop()


def dispatch(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """`func` on the raw values; its results are on the device that they would be on."""
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    there = [each for each in tensors if isinstance(each, Pretended)]
    target = kwargs.get("device")
    if func is aten.copy_.default:
        lands_there = isinstance(args[0], Pretended)
    else:
        lands_there = bool(there) if target is None else torch.device(target).type == NAME
    if func in TRANSFERS:
        waits = bool(there) and not lands_there
    else:
        # a number that is a tensor may come from the host, as it may on a GPU
        here = [each for each in tensors if not isinstance(each, Pretended) and each.ndim > 0]
        if there and here:
            raise Mixed(f"{func}: {list(there[0].shape)} there, {list(here[0].shape)} on the CPU")
        masked = func in MASKED and any(t is not None and t.dtype == torch.bool for t in args[1])
        waits = bool(there) and (masked or func in WAITS)
    if waits and _forbidden:
        raise Waited(f"{_forbidden[-1]}: {func} of {list(there[0].shape)}")

    raw_args, raw_kwargs = tree_map_only(Pretended, lambda each: each.raw, (args, kwargs))
    if target is not None and lands_there:
        raw_kwargs["device"] = torch.device("cpu")
    out = func(*raw_args, **raw_kwargs)
    if not lands_there or (func in WAITS and not isinstance(out, Tensor | tuple)):
        return out
    if func is aten._to_copy.default and not there:
        out = out.clone()
    out = tree_map_only(Tensor, Pretended, out)
    return return_and_correct_aliasing(func, args, kwargs, out) if there else out
