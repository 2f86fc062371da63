import json
import struct

import pytest
import torch

from densecl.errors import UsageError
from densecl.weights import read_weights, safetensors_file


def tensors():
    torch.manual_seed(0)
    return {
        "a": torch.randn(3, 4),
        "t": torch.randn(3, 4).t(),
        "bf16": torch.randn(5).bfloat16(),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "flag": torch.tensor([True, False, True]),
    }


def test_the_reference_implementation_reads_what_we_write(tmp_path):
    library = pytest.importorskip("safetensors")
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors_file.encode(tensors(), {"densecl": "{}"}))
    with library.safe_open(path, framework="pt") as archive:
        assert archive.metadata() == {"densecl": "{}"}
        got = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    for name, tensor in tensors().items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor)


def test_we_read_what_the_reference_implementation_writes(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    content = {name: tensor.contiguous() for name, tensor in tensors().items()}
    library.save_file(content, path, {"k": "v"})
    contents = read_weights(path)
    assert contents.metadata == {"k": "v"}
    for name, tensor in content.items():
        assert contents.data[name].dtype == tensor.dtype
        assert torch.equal(contents.data[name], tensor)


@pytest.mark.parametrize("span", [[0, 400], [-4, 8], [8, 4], [4, 12], [4, 16]])
def test_ranges_outside_the_file_are_refused(tmp_path, span):
    header = {"w": {"dtype": "F32", "shape": [3], "data_offsets": span}}
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 12)
    with pytest.raises(UsageError, match="lies outside"):
        read_weights(path)
