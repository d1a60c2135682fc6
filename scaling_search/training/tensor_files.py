"""Files of tensors, with facts about them and a digest of every byte."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from scaling_search.runtime.digests import BLANK, KEY, check_sealed, sealed


def content_of(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """The bytes of a safetensors file."""
    from safetensors.torch import save  # noqa: PLC0415  # only long trainings and weights need it

    header, body = _apart(save(dict(tensors), {"facts": json.dumps(facts)}))
    # Here, since safetensors writes two metadata in any order, and equal files have equal bytes.
    header["__metadata__"][KEY] = BLANK
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return sealed(b"".join((len(text).to_bytes(8, "little"), text, body)))


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and tensors of a file.

    Files of older versions have no digest; of them it is only asked that no value is NaN.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    from safetensors import SafetensorError  # noqa: PLC0415  # as above
    from safetensors.torch import load  # noqa: PLC0415  # as above

    content = path.read_bytes()
    try:
        header, _ = _apart(content)
        metadata = header["__metadata__"]
        if not {"facts"} <= metadata.keys() <= {"facts", KEY}:
            raise ValueError("its metadata are damaged")
        if KEY in metadata:
            check_sealed(content)
        facts, tensors = json.loads(metadata["facts"]), load(content)
    except (SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    if KEY not in metadata:
        for name, tensor in tensors.items():
            if tensor.isnan().any():
                raise ValueError(f"nan in {name!r}")
    return facts, tensors


def _apart(content: bytes) -> tuple[Any, memoryview]:
    """The header and the tensors' bytes of a safetensors file, as its format has them."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), memoryview(content)[end:]
