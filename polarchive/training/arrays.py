"""Turn tensors into bytes and back, without a copy where none is needed."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from polarchive.format.tensors import Array

DTYPES: Final[Mapping[torch.dtype, str]] = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
}
_TORCH: Final = {name: dtype for dtype, name in DTYPES.items()}


def to_array(tensor: Tensor, name: str) -> Array:
    """Return the content of a dense tensor on any device; TypeError naming it if it has none to give."""
    require_plain(tensor, name)
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    return Array(DTYPES[plain.dtype], tuple(plain.shape), plain.reshape(-1).view(torch.uint8).numpy().data)


def to_tensor(array: Array) -> Tensor:
    """Return the tensor that `array` holds, on the CPU, sharing its memory where that is writable."""
    dtype = _TORCH[array.dtype]
    if not memoryview(array.data).nbytes:
        return torch.empty(array.shape, dtype=dtype)
    view = memoryview(array.data)
    return torch.frombuffer(bytearray(view) if view.readonly else view, dtype=dtype).reshape(array.shape)


def to_tensors(state: Mapping[str, Array]) -> dict[str, Tensor]:
    """Return a recorded state as tensors on the CPU."""
    return {name: to_tensor(array) for name, array in state.items()}


def require_plain(tensor: Tensor, name: str) -> None:
    """Raise TypeError, naming the tensor, unless its content is a dense array of a dtype that can be recorded."""
    kind = type(tensor).__name__
    if is_lazy(tensor):
        raise TypeError(f"{name}: has no value before the first batch; run one through the model before recording")
    if tensor.is_quantized or tensor.is_meta or tensor.layout != torch.strided or kind == "DTensor":
        what = "quantized" if tensor.is_quantized else "meta" if tensor.is_meta else f"{kind} {tensor.layout}"
        raise TypeError(f"{name}: a {what} tensor cannot be recorded")
    if tensor.dtype not in DTYPES:
        raise TypeError(f"{name}: dtype {tensor.dtype} cannot be recorded")
