"""What all tests share: where real data lie, and how hypothesis draws."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import settings

# Compilation makes the first example slow; the same examples everywhere make a failure repeatable.
settings.register_profile("largen", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("largen")

ROOT = Path(__file__).resolve().parents[1]


# Files whose time is compiling, of programs that run once or twice on a few numbers: they are not optimised, which takes half of it.
COMPILE = {"test_convolutions", "test_empirical_ntk", "test_ensembles", "test_evidence_gradients", "test_fuzz", "test_gradients"}
COMPILE |= {"test_higher", "test_init_jax", "test_jax_transposed", "test_kernels", "test_perturbations", "test_quadrature"}
COMPILE |= {"test_residual_kernels", "test_signal", "test_critical_page", "test_report", "test_study", "test_width"}


def data_folder() -> Path | None:
    """The folder of real data: LARGEN_DATA, else shared/data beside the repository, else None."""
    named = os.environ.get("LARGEN_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="module", autouse=True)
def _programs_of_a_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """How JAX compiles the programs of a file; and they are dropped after it: thousands of programs exhaust the memory maps a process may
    have (65,530)."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", request.path.stem in COMPILE)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()
    gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `data`, with the reason, where there is no data."""
    if data_folder() is None:
        skip = pytest.mark.skip(reason="no real data: set LARGEN_DATA to its folder (none at shared/data beside the repository)")
        for item in items:
            if item.get_closest_marker("data"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; the test that asks for it carries the mark `data`."""
    folder = data_folder()
    if folder is None:
        pytest.skip("no real data: set LARGEN_DATA to its folder")
    return folder
