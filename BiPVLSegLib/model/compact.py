"""Weights in eight bits or fewer, for what ships: a repository may not grow.

Matrices and kernels are stored as whole numbers with one scale per output channel; vectors, and what is small, in half
precision. They are brought back to float32 when they are loaded, so a model computes as ever. Eight bits are plain int8; fewer
are packed: six bits take three quarters of a byte, and "two bits", of which only -1, 0 and 1 are used, a fifth of one.

Tensors do not all take the same. The few largest kernels lie deep in the network, where many features share the work, and take
one bit less (with three to seven). Fusion layers take one more and the head three more (eight at most): these are small and tell
one text from another, which few bits spoil first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

SCALE, SHAPE, BITS = ".scale", ".shape", ".bits"  # BITS: of a tensor that takes others than the file
METADATA = {"format": "pt", "weights": "int8"}  # "bits": how many are used, where they are fewer than eight
SMALL = 4096  # elements; smaller tensors would save nothing
PLACES = (81, 27, 9, 3, 1)  # of the digits of a byte that holds five numbers from 0 to 2
FIVE = len(PLACES)
LARGE = 200_000  # elements; from here on a tensor takes one bit less
READ_TEXTS = {"head.": 3, "fusion.": 1}  # parts of a model, and how many bits more they take


def is_compact(file: Path) -> bool:
    """Whether a safetensors file holds such weights."""
    with safe_open(file, framework="pt") as opened:
        return (opened.metadata() or {}).get("weights") == METADATA["weights"]


def save_compact(state: dict[str, Tensor], file: Path, bits: int = 8) -> None:
    """Writes a state dict in so many bits, 2 to 8."""
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be 2 to 8, not {bits}")
    stored: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if not tensor.is_floating_point():
            stored[key] = tensor
        elif not is_rounded(tensor):
            stored[key] = tensor.half()
        else:
            own = own_bits(key, tensor, bits)
            scale = row_steps(tensor, own)
            whole = _whole(tensor, scale, own)
            stored[key + SCALE] = scale
            if own == 8:
                stored[key] = whole.to(torch.int8).view(tensor.shape)
            else:
                stored[key] = _packed(whole + _largest(own), own)
                stored[key + SHAPE] = torch.tensor(tensor.shape)
            if own != bits:
                stored[key + BITS] = torch.tensor(own)
    metadata = METADATA if bits == 8 else {**METADATA, "bits": str(bits)}
    save_file({key: tensor.contiguous() for key, tensor in stored.items()}, file, metadata)


def load_compact(file: Path) -> dict[str, Tensor]:
    """The state dict of :func:`save_compact` in float32.

    Raises:
        ValueError: the file is incomplete.
    """
    with safe_open(file, framework="pt") as opened:
        most = int(opened.metadata().get("bits", 8))
        stored = {key: opened.get_tensor(key) for key in opened.keys()}
    state = {}
    for key, tensor in stored.items():
        if any(key.endswith(end) and key.removesuffix(end) in stored for end in (SCALE, SHAPE, BITS)):
            continue
        if tensor.dtype in (torch.int8, torch.uint8):
            bits = int(stored.get(key + BITS, most))
            missing = [end[1:] for end in (SCALE, SHAPE)[: 1 + (bits < 8)] if key + end not in stored]
            if missing:
                raise ValueError(f"the {missing[0]} of {key} is missing")
            if bits < 8:
                shape = stored[key + SHAPE].tolist()
                tensor = _unpacked(tensor, bits, shape) - _largest(bits)
            tensor = tensor.float() * stored[key + SCALE].view(-1, *[1] * (tensor.ndim - 1))
        state[key] = tensor.float() if tensor.is_floating_point() else tensor
    return state


def is_rounded(tensor: Tensor) -> bool:
    """Whether a tensor is stored in few bits; vectors, and what is small, are not."""
    return tensor.ndim > 1 and tensor.numel() >= SMALL


def own_bits(key: str, tensor: Tensor, bits: int) -> int:
    """The bits of the tensor of this name in a file of so many bits."""
    more = next((more for part, more in READ_TEXTS.items() if key.startswith(part)), 0)
    if more:
        return min(bits + more, 8)
    return bits - 1 if 2 < bits < 8 and tensor.numel() >= LARGE else bits


def row_steps(tensor: Tensor, bits: int) -> Tensor:
    """One step per row (N,). With few bits it is cheaper to cut off the rare large weights than to space all others widely: the
    step with the least squared error is taken. Rows that are whole multiples of a step already find it again."""
    rows, largest = tensor.detach().float().flatten(1), _largest(bits)
    full = rows.abs().amax(1).clamp(min=1e-8) / largest
    if bits == 8:
        return full
    found, least = full, _error(rows, full, bits)
    shares = [*torch.linspace(0.4, 1.0, 25).tolist()[:-1], *(largest / n for n in range(1, largest))]
    for step in (full * share for share in shares):
        error = _error(rows, step, bits)
        found, least = torch.where(error < least, step, found), torch.minimum(error, least)
    return found


def rounded(tensor: Tensor, steps: Tensor, bits: int) -> Tensor:
    """The tensor as it comes back from a file of so many bits, with these steps per row."""
    rows = _whole(tensor, steps, bits) * steps[:, None]
    return rows.view(tensor.shape)


def _largest(bits: int) -> int:
    """The largest whole number that so many bits hold on either side of zero."""
    return 2 ** (bits - 1) - 1


def _whole(tensor: Tensor, steps: Tensor, bits: int) -> Tensor:
    largest = _largest(bits)
    return (tensor.detach().float().flatten(1) / steps[:, None]).round().clamp_(-largest, largest)


def _error(rows: Tensor, steps: Tensor, bits: int) -> Tensor:
    return (_whole(rows, steps, bits) * steps[:, None] - rows).square().sum(1)


def _packed(rows: Tensor, bits: int) -> Tensor:
    """Rows of whole numbers below 2**bits -> rows of bytes, without unused bits between them. With two bits, five numbers from 0
    to 2 are the digits of a byte."""
    if bits == 2:
        digits = torch.nn.functional.pad(rows, (0, -rows.shape[1] % FIVE)).view(len(rows), -1, FIVE)
        return (digits * torch.tensor(PLACES)).sum(-1).to(torch.uint8)
    digits = np.unpackbits(rows.to(torch.uint8).numpy()[..., None], axis=-1)[..., 8 - bits :]
    return torch.from_numpy(np.packbits(digits.reshape(len(rows), -1), axis=1))


def _unpacked(rows: Tensor, bits: int, shape: list[int]) -> Tensor:
    """The way back, to a tensor of float32 of that shape."""
    count = int(np.prod(shape[1:]))
    if bits == 2 and rows.shape[1] == -(-count // FIVE):  # earlier versions put four numbers into a byte
        digits = rows[..., None].int() // torch.tensor(PLACES, dtype=torch.int32) % 3
        return digits.flatten(1)[:, :count].float().view(shape)
    digits = np.unpackbits(rows.numpy(), axis=1, count=count * bits).reshape(len(rows), count, bits)
    values = np.zeros((len(rows), count), np.float32)
    for place in range(bits):
        values += digits[..., place] * np.float32(2 ** (bits - 1 - place))
    return torch.from_numpy(values).view(shape)
