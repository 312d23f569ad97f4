"""What a network can run on, and what is fast there."""

from __future__ import annotations

import ctypes
import sys

import torch

from spatial_viz.errors import InvalidInput

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # M_… in malloc.h


def pick_device(device: str = "auto") -> torch.device:
    """CUDA, then Apple's, then the CPU; or the device named.

    Once it is CUDA, fp32 is fp32 in this process: by default PyTorch's convolutions round to TF32 there, and no verdict
    may depend on that.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InvalidInput(f"unknown device {device!r}; use auto, cpu, cuda or mps") from error
    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not usable.get(chosen.type, False):
        raise InvalidInput(f"there is no {device} on this machine; use auto or cpu")
    if chosen.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return chosen


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB that tensors on the CPU have given back, for the next ones, instead of handing
    it to the system, which clears every page before it comes again. For long runs: a tenth more pictures a second
    (docs/training.md). Whether that could be set: only glibc has these settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    # The first is as large as glibc takes it: what is larger is mapped and unmapped by itself each time.
    wanted = {MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 1 << 30, TOP_PAD: 64 << 20}
    return set_option is not None and all(set_option(option, size) == 1 for option, size in wanted.items())


def fast_at_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed by hardware; elsewhere it is emulated and slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def fast_batch(device: torch.device, precision: str, size: tuple[int, int]) -> int:
    """The batch that is fast, not the largest that fits: on a CPU the activations should stay in the cache.

    For a CPU measured at 32×32 (``make bench`` tries all), and scaled with the number of pixels.
    """
    at_32 = 2048 if device.type != "cpu" else (128 if precision == "bf16" else 32)
    return max(4, int(at_32 * 32 * 32 / (size[0] * size[1]))) if min(size) else 1
