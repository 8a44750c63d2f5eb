"""Memory said before computing: what a prediction needs."""

from largen.architecture.nodes import Serial
from largen.memory import NORMAL as NORMAL, available as available, require as require
from largen.theory import held


def kernel_prediction(net: Serial, shape: tuple[int, ...], train: int, test: int, times: int, itemsize: int, full: bool = True) -> float:
    """Bytes at the peak of a prediction with mean and variances, or `full` covariance, of points of a shape: kernels of train points, of
    test with train and, if full, of test points, one eigendecomposition, one covariance a time.

    The recursion of every kernel holds what `held` counts; that of points with positions goes by blocks, and asks for itself. Afterwards
    the kernels and what is made of them count as 8 arrays of each pair of sets, the eigendecomposition and the rotated train block
    as 5, each time as four (test, train) and, if full, three (test, test) arrays.
    """
    tests = test**2 if full else test
    blocks = [(train, train), (test, train), (test, test if full else 1)]
    recursion = max(held.numbers(net, shape, a, b, False) for a, b in blocks) if len(shape) == 1 else 0.0
    later = 8.0 * (train**2 + test * train + tests) + 5 * train**2 + times * (4 * test * train + 3 * tests + 4 * train)
    return itemsize * max(recursion, later)


def network_prediction(train: int, test: int, outputs: int, times: int, itemsize: int) -> int:
    """Bytes at the peak of one network's prediction: its (points, train) kernel with all output pairs, one eigendecomposition."""
    rows, columns = (train + test) * outputs, train * outputs
    return itemsize * (3 * rows * columns + 5 * columns**2 + times * (columns + test * outputs))


def finite_ensemble(train: int, test: int) -> int:
    """Bytes at the peak of an ensemble at order 1/n, in float64: ten tensors over all points, and parts of them as they are turned."""
    points = train + test
    return 8 * (12 * points**4 + 8 * points * train**3 + 12 * (test * train) ** 2)
