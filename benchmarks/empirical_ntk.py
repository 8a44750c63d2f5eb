"""How fast is `lg.empirical_ntk`? Against its own floor, against Jacobians, and against neural-tangents where installed.

The network is 784-512-512-512-10, 64 points, all 10 x 10 pairs of outputs, float32. The floor is the three products of
640 x 512 matrices that any exact evaluation by backward factors must make. All are timed in turn in one run, and the
claim is about the ratio of the fastest times: python benchmarks/empirical_ntk.py
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import largen as lg

CLAIM = 3.0  # times the floor
ROUNDS = 60


def fastest(jobs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest call of each job, all taking turns so that a busy machine is busy for all."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        jax.block_until_ready(job())
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.perf_counter()
            jax.block_until_ready(job())
            times[name].append(time.perf_counter() - start)
    return {name: min(t) for name, t in times.items()}


@partial(jax.jit, static_argnums=0)
def by_jacobians(net: Any, params: Any, X: Any) -> Any:
    """The same kernel from Jacobians of all outputs in all parameters, contracted with the learning rates."""
    jacobian = jax.jacobian(lambda p: lg.apply(net, p, X))(params)
    total = jnp.zeros(())
    for layer in lg.analysis.chain(net):
        for name, rate in (("W", layer.C_W / params[layer.path]["W"].shape[0]), ("b", layer.C_b)):
            J = jacobian[layer.path][name].reshape(len(X), lg.analysis.chain(net)[-1].width, -1)
            total = total + rate * jnp.einsum("aip,cjp->acij", J, J)
    return total


def tangents(params: Any, X: Any) -> Callable[[], Any] | None:
    """The same kernel by neural-tangents' structured derivatives at their best, or None if it is not installed."""
    try:
        import neural_tangents as nt  # type: ignore[import-not-found]
    except ImportError:
        return None

    def apply(leaves: Any, x: Any) -> Any:  # rates lambda_W/fan_in enter as W = sqrt(lambda_W/fan_in) w, and so does lambda_b
        for i, (w, b, scale, shift) in enumerate(leaves):
            x = (jnp.maximum(x, 0) if i else x) @ (w * scale) + b * shift
        return x

    layers = [(p["W"], p["b"], np.sqrt(2.0 / p["W"].shape[0]), np.sqrt(0.1)) for p in params.values()]
    weights = [(W / scale, b / shift) for W, b, scale, shift in layers]
    scales = [(scale, shift) for *_, scale, shift in layers]
    kernel = nt.empirical_ntk_fn(
        lambda p, x: apply([(*wb, *s) for wb, s in zip(p, scales, strict=True)], x),
        trace_axes=(),
        vmap_axes=0,
        implementation=nt.NtkImplementation.STRUCTURED_DERIVATIVES,
    )
    compiled = jax.jit(lambda p, x: kernel(x, None, p))
    return lambda: compiled(weights, X)


def main() -> None:
    net = lg.mlp(widths=[512, 512, 512], out=10, C_W=2.0, C_b=0.1)
    params = lg.init(net, 784, jax.random.key(0))
    X = jax.random.normal(jax.random.key(1), (64, 784))
    factors = [jax.random.normal(jax.random.key(i), (640, 512)) for i in range(3)]
    floor = jax.jit(lambda matrices: [m @ m.T for m in matrices])
    jobs: dict[str, Callable[[], Any]] = {"floor": lambda: floor(factors), "largen": lambda: lg.empirical_ntk(net, params, X)}
    rival = tangents(params, X)
    if rival is not None:
        np.testing.assert_allclose(rival(), jobs["largen"](), rtol=1e-3, atol=1e-3)
        jobs["neural-tangents"] = rival
    seconds = fastest(jobs, ROUNDS)
    print("784-512-512-512-10, 64 points, all pairs of outputs, float32, fastest call:")
    for name, value in seconds.items():
        print(f"  {name:16} {value:8.4f} s   {value / seconds['floor']:6.2f} x floor")
    few = {"largen": lambda: lg.empirical_ntk(net, params, X[:4]), "Jacobians": lambda: by_jacobians(net, params, X[:4])}
    np.testing.assert_allclose(few["Jacobians"](), few["largen"](), rtol=1e-3, atol=1e-3)
    small = fastest(few, 3)
    times = small["Jacobians"] / small["largen"]
    print(f"4 points: largen {small['largen']:.4f} s, Jacobians {small['Jacobians']:.4f} s, {times:.0f} times as long")
    ratio = seconds["largen"] / seconds["floor"]
    print(f"claim: at most {CLAIM:g} x the floor; measured {ratio:.2f}: {'holds' if ratio <= CLAIM else 'FAILS'}")
    if rival is not None:
        times = seconds["largen"] / seconds["neural-tangents"]
        print(f"claim: not slower than neural-tangents; measured {times:.2f} x its time: {'holds' if times <= 1 else 'FAILS'}")


if __name__ == "__main__":
    main()
