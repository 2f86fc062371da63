"""The safetensors format: an 8-byte length, a JSON header, the bytes of every tensor.

Read and written here because the format is twenty lines and needs no dependency.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
# The reference implementation's own limit.
MAX_HEADER = 100_000_000


def decode(raw: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the free-form metadata.

    Raises:
        ValueError: the header or a tensor's range is wrong.
    """
    (length,) = struct.unpack("<Q", raw[:8])
    if length > min(len(raw) - 8, MAX_HEADER):
        raise ValueError("the header is longer than the file")
    header = json.loads(raw[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    body = bytearray(raw[8 + length :])
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
        numel = 1
        for dim in shape:
            numel *= dim
        if not 0 <= begin <= end <= len(body) or end - begin != numel * dtype.itemsize:
            raise ValueError(f"tensor {name} lies outside the file")
        if numel == 0:
            tensors[name] = torch.empty(shape, dtype=dtype)
        else:
            # A copy each, so that keeping one tensor does not keep the whole file.
            part = torch.frombuffer(body[begin:end], dtype=dtype)
            tensors[name] = part.reshape(shape)
    return tensors, metadata


def encode(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file with these tensors, in their order."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    parts: list[bytes] = []
    offset = 0
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        part = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        span = [offset, offset + len(part)]
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": span,
        }
        parts.append(part)
        offset += len(part)
    text = json.dumps(header).encode()
    # Padded so that the tensors start at a multiple of 8 bytes.
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """``decode`` of a file."""
    return decode(path.read_bytes())
