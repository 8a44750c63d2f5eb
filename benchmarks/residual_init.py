"""Residual networks as `lg.torch.init_` starts them: mean squares of activations and gradients at the first and the last block.

A residual MLP, a pre-activation CNN with batch normalisation and a stack of transformer blocks written by hand. Run as

    python benchmarks/residual_init.py [--width 256] [--seeds 20] [--blocks 4 16 64]

It prints the ratio last/first of activations and of gradients (first/last), averaged over seeds, and exits 1 if one is beyond 4.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

import largen as lg

BOUND = 4.0


class MLPBlock(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(n, n), nn.Linear(n, n)

    def forward(self, z: Any) -> Any:
        return z + self.b(torch.relu(self.a(torch.relu(z))))


class ConvBlock(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.n1, self.n2 = nn.BatchNorm2d(n), nn.BatchNorm2d(n)
        self.a, self.b = (nn.Conv2d(n, n, 3, padding=1, bias=False) for _ in range(2))

    def forward(self, z: Any) -> Any:
        return z + self.b(torch.relu(self.n2(self.a(torch.relu(self.n1(z))))))


class AttentionBlock(nn.Module):
    def __init__(self, n: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.scale = heads, math.sqrt(n / heads)
        self.n1, self.n2 = nn.LayerNorm(n), nn.LayerNorm(n)
        self.q, self.k, self.v, self.out = (nn.Linear(n, n) for _ in range(4))
        self.up, self.down = nn.Linear(n, 4 * n), nn.Linear(4 * n, n)

    def forward(self, z: Any) -> Any:
        h = self.n1(z)
        q, k, v = (layer(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        weights = torch.softmax(q @ k.transpose(-1, -2) / self.scale, dim=-1)
        z = z + self.out((weights @ v).transpose(1, 2).flatten(2))
        return z + self.down(nn.functional.gelu(self.up(self.n2(z))))


def make(kind: str, width: int, blocks: int) -> tuple[nn.Sequential, tuple[int, ...]]:
    """The model, its blocks in a sequence between stem and readout, and the shape of a batch of inputs."""
    if kind == "mlp":
        parts = [nn.Linear(32, width), *(MLPBlock(width) for _ in range(blocks)), nn.ReLU(), nn.Linear(width, 10)]
        return nn.Sequential(*parts), (8, 32)
    if kind == "cnn":
        middle = [ConvBlock(width) for _ in range(blocks)]
        ends = [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]
        return nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), *middle, *ends), (4, 3, 6, 6)
    stack = [AttentionBlock(width) for _ in range(blocks)]
    return nn.Sequential(nn.Linear(32, width), *stack, nn.LayerNorm(width), nn.Linear(width, 10)), (2, 8, 32)


def ratios(model: nn.Sequential, x: Any, generator: Any) -> tuple[float, float]:
    """Mean squares (activations, gradients): last block over first, first over last."""
    kept = []
    for part in model:
        x = part(x)
        if isinstance(part, (MLPBlock, ConvBlock, AttentionBlock)):
            x.retain_grad()
            kept.append(x)
    (x * torch.randn(x.shape, generator=generator)).sum().backward()
    first, last = kept[0], kept[-1]
    sizes = [float(one.detach().square().mean()) for one in (first, last)]
    gradients = [float(one.grad.square().mean()) for one in (first, last)]
    return sizes[1] / sizes[0], gradients[0] / gradients[1]


def measure(kind: str, width: int, blocks: int, seeds: int) -> tuple[float, float]:
    """Geometric means over seeds of the two ratios."""
    model, shape = make(kind, width, blocks)
    logs = torch.zeros(2)
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        lg.torch.init_(model, generator=generator)
        pair = ratios(model, torch.randn(shape, generator=generator), generator)
        logs += torch.tensor(pair).log() / seeds
        model.zero_grad()
    return float(logs[0].exp()), float(logs[1].exp())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--blocks", type=int, nargs="+", default=[4, 16, 64])
    asked = parser.parse_args(argv)
    print("model        blocks  activations last/first  gradients first/last")
    good = True
    for kind in ("mlp", "cnn", "transformer"):
        for blocks in asked.blocks:
            size, gradient = measure(kind, asked.width, blocks, asked.seeds)
            good &= 1 / BOUND < size < BOUND and 1 / BOUND < gradient < BOUND
            print(f"{kind:12s} {blocks:6d}  {size:22.2f}  {gradient:20.2f}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
