"""neural-tangents' side of benchmarks/gram.py, in an environment of its own: times NNGP and NTK of one network on the points given.

python gram_opponent.py INPUTS.npy ACTIVATION DEPTH C_W C_b FORM, with FORM serial or repeat, and +jit; prints JSON.
"""

import json
import sys
import time

import jax
import numpy as np
from neural_tangents import stax

inputs, activation, depth, C_W, C_b, form = sys.argv[1:]
layer = {"relu": stax.Relu, "erf": stax.Erf, "gelu": stax.Gelu}[activation]


def dense():
    return stax.Dense(512, float(C_W) ** 0.5, float(C_b) ** 0.5)


hidden = int(depth) - 1
if form.startswith("repeat"):
    network = stax.serial(dense(), stax.repeat(stax.serial(layer(), dense()), hidden))
else:
    network = stax.serial(dense(), *[part for _ in range(hidden) for part in (layer(), dense())])
kernel = network[2]


def both(X):
    return kernel(X, None, ("nngp", "ntk"))


call = jax.jit(both) if form.endswith("+jit") else both
times = []
for X in np.load(inputs):
    began, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(tuple(call(X)))
    times.append((time.perf_counter() - began, time.process_time() - cpu))
wall, cpus = zip(*times, strict=True)
print(json.dumps({"first": wall[0], "again": min(wall[1:]), "cpu": min(cpus[1:])}))
