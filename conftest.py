"""What comes before all tests: how programs are compiled, and the modules the doctest collector leaves out."""

import gc
import importlib.util
import os
from importlib.metadata import version

import pytest
from threadpoolctl import threadpool_limits

# Most of the time of a test is compiling. The jaxlib of Python 3.11 takes about 1.6 times as long with its fusion emitters, for
# programs that run no slower; later ones are as fast without the flag, and refuse it.
if version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {os.environ.get('XLA_FLAGS', '')}".strip()

# Workers share the cores, and threads of BLAS wait for each other busily: two of them took four times the work of one. Read by what is
# loaded later (PyTorch, processes that tests start); what is loaded already is told below.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NPROC"] = "1"  # of XLA, likewise

# Modules of optional dependencies that are not installed.
TORCH = ["torch_graph", "torch_layers", "torch_weights"]
collect_ignore = [] if importlib.util.find_spec("torch") else [f"src/largen/adapters/{name}.py" for name in TORCH]


def pytest_configure(config: pytest.Config) -> None:
    """Files go to workers in their order, which ends with small ones; by their numbers of tests the last would be long ones of one test."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_finish() -> None:
    """One thread of BLAS; and what has been imported by now stays, while tracing makes many objects and few cycles: looking through all
    of them, again and again, took a tenth of the time. Cycles are collected after every file (`tests/conftest.py`)."""
    threadpool_limits(1, user_api="blas")
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
