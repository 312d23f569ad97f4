"""On what a training runs, in words for its card."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

from spatial_viz.models.devices import fast_at_bf16


def hardware(device: torch.device, processes: int = 1) -> str:
    """Model and number of the processors, such as ``"AMD EPYC, 2 threads"`` or ``"2 × NVIDIA H100, bf16"``."""
    if device.type == "cuda":
        each = torch.cuda.get_device_name(device)
    elif device.type == "mps":
        each = f"{_cpu()}, its GPU"
    else:
        threads = torch.get_num_threads()
        each = f"{_cpu()}, {threads} thread{'s' if threads > 1 else ''}"
    several = each if processes == 1 else f"{processes} × {each}"
    return f"{several}, bf16" if fast_at_bf16(device) else several


def _cpu() -> str:
    """The model of the CPU; the bare architecture where the system does not tell."""
    listed = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", listed.read_text(), re.MULTILINE) if listed.is_file() else None
    return match[1].strip() if match else platform.processor() or platform.machine()
