"""Memory said before computing: what a prediction needs."""

from largen.architecture.nodes import Serial
from largen.memory import NORMAL as NORMAL, available as available, require as require
from largen.theory import held


def kernel_prediction(net: Serial, shape: tuple[int, ...], train: int, test: int, times: int, itemsize: int) -> float:
    """Bytes at the peak of a prediction with mean and covariance, of points of a shape: joint kernels, one eigendecomposition, one
    covariance a time.

    The recursion of the kernels of all points holds what `held` counts; that of points with positions goes by blocks, and asks for
    itself. Afterwards the kernels and what is cut from them count as 8 square arrays, the eigendecomposition and the rotated train block
    as 5, each time as four (test, train) and three (test, test) arrays.
    """
    points = train + test
    recursion = held.numbers(net, shape, points, points, False) if len(shape) == 1 else 0.0
    later = 8.0 * points**2 + 5 * train**2 + times * (4 * test * train + 3 * test**2 + 4 * train)
    return itemsize * max(recursion, later)


def network_prediction(train: int, test: int, outputs: int, times: int, itemsize: int) -> int:
    """Bytes at the peak of one network's prediction: its (points, train) kernel with all output pairs, one eigendecomposition."""
    rows, columns = (train + test) * outputs, train * outputs
    return itemsize * (3 * rows * columns + 5 * columns**2 + times * (columns + test * outputs))


def finite_ensemble(train: int, test: int) -> int:
    """Bytes at the peak of an ensemble at order 1/n, in float64: ten tensors over all points, and parts of them as they are turned."""
    points = train + test
    return 8 * (12 * points**4 + 8 * points * train**3 + 12 * (test * train) ** 2)
