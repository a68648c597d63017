"""Choosing the device and the precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DeviceError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "bf16", "fp16", "fp32")


def resolve_device(name: str = "auto") -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` -> torch.device that is really there.

    Raises:
        DeviceError: the name is unknown or the device is missing.
    """
    import torch

    name = (name or "auto").strip().lower()
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise DeviceError(f"'{name}' is no device; choose auto, cpu, cuda, cuda:N or mps.")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise DeviceError(f"There is no device '{name}': PyTorch sees {count} CUDA devices. Choose auto or cpu.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("There is no device 'mps' on this computer; choose auto or cpu.")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """``auto``, ``bf16``, ``fp16`` or ``fp32`` -> torch.dtype to compute in.

    ``auto`` takes bf16 where the device computes in it natively, fp16 on other CUDA devices and fp32 elsewhere: emulated bf16
    is slower than fp32. Raises DeviceError for another name, and for fp16 on a processor.
    """
    import torch

    if name not in PRECISIONS:
        raise DeviceError(f"'{name}' is no precision; choose {', '.join(PRECISIONS)}.")
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("fp16 is for graphics cards, and takes minutes per window on a processor; choose auto.")
    if name != "auto":
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    if device.type == "cpu" and cpu_has_bf16():
        return torch.bfloat16
    return torch.float32


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bf16 in hardware (AVX-512 BF16 or AMX)."""
    import torch

    if torch.backends.cpu.get_cpu_capability() == "DEFAULT" and not hasattr(torch.cpu, "_is_avx512_bf16_supported"):
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def describe_device(device: torch.device) -> str:
    """A name for logs and model cards."""
    import platform

    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Context in which the network computes in ``dtype``."""
    import torch

    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
