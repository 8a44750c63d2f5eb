"""What a study will do: which widths, how many networks, how long. Everything is fixed before any work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from largen import door, memory
from largen.agreement.widths import at_width, nearest, require_room
from largen.architecture.chain import chain, plain
from largen.architecture.nodes import Serial
from largen.data.task import Task
from largen.errors import InputError

RECORDED = 64  # steps at which networks are looked at, at most about


@dataclass(frozen=True)
class Plan:
    """`nets`: the network at each of the `widths` (of its first hidden layer; the others in proportion). `networks` and `draws`: how many
    are trained, and looked at untrained, at each. `pace`: eta x lambda_max. `steps`: how many; None, until theory's train loss has fallen
    to `share` of its start, or, with no share either, as long as theory expects it to pay. Kernels are looked at on `points` train
    points."""

    net: Serial
    nets: tuple[Serial, ...]
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    draws: tuple[int, ...]
    pace: float
    steps: int | None
    share: float | None
    points: int
    seed: int


def plan(
    net: Any,
    widths: Sequence[int] | None = None,
    networks: int = 8,
    draws: int = 96,
    steps: int | None = None,
    pace: float = 0.5,
    share: float | None = None,
    points: int = 32,
    seed: int = 0,
) -> Plan:
    """The checked plan of a study. `widths`, default 1/8, 1/4, 1/2 and all of the network's own; `networks` and `draws` are
    those at the largest width, of narrower (cheaper) ones up to 4 times as many.

    Raises `InputError` for networks without a hidden layer, fewer than four widths, widths that are no multiples, C_W = 0.
    """
    layers = plain(net, "the study")
    if len(layers) < 2:
        raise InputError("net", "a network without a hidden layer", "at least one hidden layer: its width is what varies")
    dead = next((layer for layer in layers if not float(layer.C_W) > 0), None)
    if dead is not None:
        raise InputError("C_W", f"0 in {dead.path}", "a number above 0 in every layer, or nothing reaches the outputs")
    own = layers[0].width
    chosen = (
        nearest(net, (max(own // 8, 1), max(own // 4, 1), max(own // 2, 1), own))
        if widths is None
        else tuple(door.count(w, "widths") for w in widths)
    )
    if len(chosen) < 4 or list(chosen) != sorted(set(chosen)):
        raise InputError("widths", str(list(chosen)), "four or more increasing widths, best over a factor of 8")
    many, looked = door.count(networks, "networks", low=2), door.count(draws, "draws", low=2)
    last = None if steps is None else door.count(steps, "steps", low=8)
    memory.require_few(last or 0, "steps", "steps")
    factors = [min(4, chosen[-1] // w) for w in chosen]
    nets = tuple(at_width(net, w) for w in chosen)
    pace = door.number(pace, "pace", low=0.0, strict=True)
    if pace > 1:
        raise InputError("pace", f"{pace:g}", "at most 1: narrow networks, whose NTK is larger at times, would diverge")
    part = None if share is None else float(door.number(share, "share", low=0.0, strict=True))
    if part is not None and part >= 1:
        raise InputError("share", f"{share:g}", "a number below 1: the part of the train loss at which training stops")
    return Plan(
        net,
        nets,
        chosen,
        tuple(many * f for f in factors),
        tuple(looked * f for f in factors),
        float(pace),
        last,
        part,
        door.count(points, "points", low=2),
        seed,
    )


def room_for(plan: Plan, task: Task) -> None:
    """Refuse a study that does not fit into memory: the widest networks, and what is kept of all."""
    trained = RECORDED * (len(task.X) + 2) + len(task.X_test) * task.y.shape[1]
    looked = 2 * plan.points**2 * len(chain(plan.net)) * sum(plan.draws) / sum(plan.networks)
    require_room(plan.nets, task.X.shape[1:], sum(plan.networks), trained + looked)
