"""What the outcome of a study of the gallery says of each claim, by the name the claim has in `studies.py`."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from claims.ledger import Claim

Claims = dict[str, Claim]


def claims(script: ModuleType, call: str) -> Claims:
    """Run a study, and say what it found."""
    study = getattr(script, call)
    if script.__name__.startswith("errata"):
        return erratum(script, study)
    return TOLD[script.__name__](script, study())


def many(value: Any) -> tuple[int, ...]:
    return tuple(map(int, np.atleast_1d(value)))


def erratum(script: ModuleType, study: Callable[[], Any]) -> Claims:
    """The right formula is the theory, the printed one the control; widths and networks are those of the function."""
    asked = {name: arg.default for name, arg in inspect.signature(study).parameters.items()}
    networks = many(next((asked[name] for name in ("networks", "trained", "draws") if name in asked), []))
    widths = many(asked.get("widths", asked.get("n", script.WIDTHS if len(networks) > 1 else [])))
    found = study()
    value, error, right, _ = found.measured or (found.right, 0.0, "", None)
    claim = Claim(
        theory=right if isinstance(right, str) else float(right),
        measured=float(value),
        error=float(error) or None,
        z=float(found.right) if found.measured else None,
        controls={"as printed": float(found.printed)},
        unit=found.unit,
        widths=widths,
        networks=networks,
        holds=bool(found.holds),
    )
    return {found.name: claim}


def poole(script: ModuleType, out: Any) -> Claims:
    told = {}
    for row in out.rows:
        at = np.unravel_index(np.abs((row.measured - row.theory) / row.error).argmax(), row.theory.shape)
        told[f"C_W={row.C_W}"] = Claim(
            theory=float(row.theory[at]),
            measured=float(row.measured[at]),
            error=float(row.error[at]),
            z=row.worst,
            controls={"C_W + 10 %": row.control},
            widths=script.WIDTHS,
            networks=script.NETWORKS,
            holds=bool(row.worst <= 4 and row.error.max() <= 0.03 and row.control > 6),
        )
    return told


def unit_variance(script: ModuleType, out: Any) -> Claims:
    told = {}
    for row in out.rows:
        at = np.abs((row.ratio - 1) / row.error).argmax()
        told[f"{row.activation}, {row.scheme}"] = Claim(
            theory=1.0,
            measured=float(row.ratio[at]),
            error=float(row.error[at]),
            z=row.worst,
            controls={"C_W + 10 %": row.control},
            widths=script.WIDTHS,
            networks=script.NETWORKS,
            holds=bool(row.worst <= 4 and row.error.max() <= 0.05 and row.control > 6),
        )
    return told


def trainable_depth(script: ModuleType, out: Any) -> Claims:
    return {
        "rank": Claim(theory="at least 0.8", measured=out.rank, holds=out.rank >= 0.8),
        "c": Claim(theory="3 to 12", measured=out.c, holds=3 <= out.c <= 12),
        "shallow": Claim(theory="above 0.5", measured=out.shallow, holds=out.shallow > script.HALF),
        "deep": Claim(theory="below 0.25", measured=out.deep, holds=out.deep < script.HALF / 2),
    }


def phase_map(script: ModuleType, out: Any) -> Claims:
    return {
        "best": Claim(theory="at most 1", measured=out.best_distance, holds=out.best_distance <= 1),
        "rank": Claim(theory="at most -0.5", measured=out.rank, holds=out.rank <= -0.5),
        "error": Claim(theory="at most 1e-8", measured=out.error, holds=out.error <= 1e-8),
    }


def deep_mlps(script: ModuleType, out: Any) -> Claims:
    told, size = {}, script.FULL
    for case in out:
        gap, best = min(case.gaps), max(run.accuracy for run in case.halves["default"].runs)
        shape = {"widths": (size.width,), "networks": (len(script.SEEDS),)}
        told[f"{case.activation}, critical"] = Claim(theory="at least 0.6", measured=gap, holds=gap >= script.MARGIN, **shape)
        told[f"{case.activation}, default"] = Claim(theory=f"at most {case.chance:.3f}", measured=best, holds=best <= case.chance, **shape)
    return told


def single_networks(script: ModuleType, out: Any) -> Claims:
    claim = Claim(
        theory=0.0,
        measured=out.intercept,
        error=out.error,
        z=out.z,
        controls={name: abs(float(z)) for name, z in out.controls.items()},
        widths=script.WIDTHS,
        networks=script.TRAINED,
        holds=bool(out.holds),
    )
    return {"accuracy": claim}


def cifar_kernels(script: ModuleType, out: Any) -> Claims:
    told = {}
    for kernel in script.COLOURS:
        rows = [row for row in out.rows if row.kernel == kernel]
        dense, conv, *_ = (row.right for row in rows)
        least, z = min(rows, key=lambda row: row.accuracy - row.needed), out.z[kernel]
        told[f"{kernel}, alike"] = Claim(theory=0.0, measured=float(conv.sum() - dense.sum()), z=z, holds=abs(z) <= 3)
        told[f"{kernel}, pooled"] = Claim(theory="above 0", measured=float(out.pooled[kernel]), holds=out.pooled[kernel] > 0)
        needed = f"at least {least.needed:.3f}"
        told[f"{kernel}, chance"] = Claim(theory=needed, measured=least.accuracy, holds=bool(least.accuracy >= least.needed))
    return told


def parametrizations(script: ModuleType, out: Any) -> Claims:
    told = {}
    for face in script.FACES:
        for inside in (True, False):
            rows = [row for row in out.powers if (row.face, row.inside) == (face, inside)]
            worst = max(rows, key=lambda row: abs(row.measured - row.theory))
            told[f"{face}, {'inside' if inside else 'off'}"] = Claim(
                theory=worst.theory,
                measured=worst.measured,
                error=worst.error,
                z=worst.z,
                controls={"a power 1/4 off": min((script.NEXT - abs(row.measured - row.theory)) / row.error for row in rows)},
                widths=script.WIDTHS,
                networks=(script.SEEDS,),
                holds=bool(all(row.good for row in rows)),
            )
    return told


def trained(script: ModuleType, out: Any) -> Claims:
    told = {}
    for q, name in enumerate(script.QUANTITIES):
        z, last = float((out.strength[q] - 1) / out.error[q]), out.rows[-1]
        linear = "linearised networks alone"
        refused = {"no correction": float(abs(out.strength[q] / out.error[q])), f"{linear}, of both": out.controls[linear]}
        if name == "mean":
            refused["the printed sign"] = out.controls["the printed sign"]
        good = abs(z) < 4 and out.error[q] < 0.1 and min(out.controls.values()) > 6
        shape = {"widths": script.WIDTHS, "networks": (script.TRAINED, script.UNTRAINED)}
        told[name] = Claim(
            theory=1.0, measured=float(out.strength[q]), error=float(out.error[q]), z=z, controls=refused, holds=bool(good), **shape
        )
        told[f"{name}, width {last.width}"] = Claim(
            theory="the narrower ones'",
            measured=float(last.strength[q]),
            error=float(last.error[q]),
            z=float(out.ahead[q]),
            holds=bool(abs(out.ahead[q]) < 4),
            **shape,
        )
    return told


def tensors(script: ModuleType, out: Any) -> Claims:
    networks = {name: count for names, count in (script.PATTERNS, script.FLUCTUATIONS, script.MEANS) for name in names}
    return {
        f"{row.activation}, {row.tensor}": Claim(
            theory=0.0,
            measured=row.gap,
            error=row.error,
            z=row.z,
            controls={"the weakest": float(row.control)},
            widths=row.widths,
            networks=networks[row.tensor],
            holds=bool(row.holds),
        )
        for row in out.rows
    }


TOLD: dict[str, Callable[[ModuleType, Any], Claims]] = {
    "poole_correlations": poole,
    "unit_variance": unit_variance,
    "trainable_depth": trainable_depth,
    "nngp_phase_map": phase_map,
    "deep_mlps": deep_mlps,
    "mnist_single_networks": single_networks,
    "cifar_kernels": cifar_kernels,
    "parametrizations": parametrizations,
    "trained_at_finite_width": trained,
    "tensors_at_finite_width": tensors,
}
