"""Memory said before computing: what a prediction needs."""

from largen.architecture.nodes import Serial
from largen.memory import NORMAL as NORMAL, available as available, require as require
from largen.theory import held

NUMBERS = 2**22  # of test with train points, at all times, that are worked with together where variances alone are asked for


def rows(train: int, times: int) -> int:
    """How many test points are predicted together."""
    return max(1, NUMBERS // max(1, train * times))


def kernel_prediction(
    net: Serial | None, shape: tuple[int, ...], train: int, test: int, times: int, itemsize: int, full: bool = True
) -> float:
    """Bytes at the peak of a prediction with mean and variances, or `full` covariance, of points of a shape: kernels of train points, of
    test with train and, if full, of test points, one eigendecomposition, one covariance a time. No net: the kernels are given.

    The recursion of every kernel holds what `held` counts; that of points with positions goes by blocks, and asks for itself, and of given
    kernels there is none: both have some rows of test points at a time. Afterwards the kernels and what is made of them count as 8 arrays
    of each pair of sets, the eigendecomposition and the rotated train block as 5, each time as four (rows, train) and, if full, three
    (test, test) arrays.
    """
    tests, few = (test**2, test) if full else (test, min(test, rows(train, times)))
    blocks, recursion, across = [(train, train), (test, train), (test, test if full else 1)], 0.0, few
    if net is not None and len(shape) == 1:
        recursion, across = max(held.numbers(net, shape, a, b, False) for a, b in blocks), test
    later = 8.0 * (train**2 + across * train + tests) + 5 * train**2 + times * (4 * few * train + 3 * tests + 4 * train)
    return itemsize * max(recursion, later)


def network_prediction(train: int, test: int, outputs: int, times: int, itemsize: int) -> int:
    """Bytes at the peak of one network's prediction: its (points, train) kernel with all output pairs, one eigendecomposition."""
    rows, columns = (train + test) * outputs, train * outputs
    return itemsize * (3 * rows * columns + 5 * columns**2 + times * (columns + test * outputs))


def finite_ensemble(train: int, test: int) -> int:
    """Bytes at the peak of an ensemble at order 1/n, in float64: ten tensors over all points, and parts of them as they are turned."""
    points = train + test
    return 8 * (12 * points**4 + 8 * points * train**3 + 12 * (test * train) ** 2)
