"""The devices of this machine: which there are, how much memory is free, what fits."""

import os
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")


def devices() -> list[str]:
    """Where torch can compute here: "cuda:0" ... first, then "mps", "cpu" always and last."""
    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [*found, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def memory(device: str = "cpu") -> tuple[int, int]:
    """Bytes that are free now, and all of the device. On mps torch's own advice stands for all."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)
    if device.startswith("mps"):
        total = torch.mps.recommended_max_memory()
        return total - torch.mps.driver_allocated_memory(), total
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if not MEMINFO.exists():  # macOS does not say what is free
        return total, total
    lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
    return 1024 * int(lines["MemAvailable"].split()[0]), total


def too_large(needs: int, device: str) -> str:
    """Why something of so many bytes should not be tried on the device; "" if it fits. A tenth is left free."""
    free, _ = memory(device)
    if needs <= 0.9 * free:
        return ""
    return f"needs about {needs / 1e9:.1f} GB, {0.9 * free / 1e9:.1f} GB are free on {device} (a tenth kept back)"
