"""Networks as text: as JSON, as TOML. The format is described in docs/format.md."""

import dataclasses
import json
import tomllib
from typing import Any

from jax.core import Tracer

from largen import door
from largen.activations.activation import FAMILIES, Activation
from largen.architecture import attention, norms, pools  # noqa: F401  (a node is known by its name once its module is there)
from largen.architecture.branches import DEEPEST, Branching, Sum
from largen.architecture.nodes import NODES, Node, Serial, network
from largen.errors import InputError, shown
from largen.types import is_traced

FORMAT, VERSION = "largen-network", 1


def dumps(net: Any, format: str = "json") -> str:
    """The network as text; `lg.loads` reads it back equal.

    Parameters
    ----------
    net : architecture
        Any network.
    format : str
        "json" or "toml".

    Returns
    -------
    str
        The text.

    Raises
    ------
    InputError
        For an unregistered activation (register it: `lg.activation(fn, name=...)`), for traced hyperparameters, for an unknown format.

    Examples
    --------
    >>> import largen as lg
    >>> print(lg.dumps(lg.Dense(8) >> lg.Act("relu") >> lg.Dense(1), format="toml"))
    format = "largen-network"
    version = 1
    <BLANKLINE>
    [[nodes]]
    node = "Dense"
    width = 8
    C_W = 1.0
    C_b = 0.0
    <BLANKLINE>
    [[nodes]]
    node = "Act"
    activation = "relu"
    <BLANKLINE>
    [[nodes]]
    node = "Dense"
    width = 1
    C_W = 1.0
    C_b = 0.0
    <BLANKLINE>
    """
    door.choice(format, "format", ("json", "toml"))
    table = {"format": FORMAT, "version": VERSION, "nodes": [_encode(part) for part in network(net).nodes]}
    if format == "json":
        return json.dumps(table, indent=2)
    head = f"format = {json.dumps(FORMAT)}\nversion = {VERSION}\n"
    return head + "".join("\n[[nodes]]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in entry.items()) for entry in table["nodes"])


def _toml(value: Any, deep: bool = False) -> str:
    """A value in TOML; nodes inside others stand in inline tables, each branch of a node at the top level on a line of its own."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v, True)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        parts = [_toml(v, True) for v in value]
        lines = not deep and isinstance(value[0], list)
        return "[\n" + "".join(f"  {part},\n" for part in parts) + "]" if lines else "[" + ", ".join(parts) + "]"
    return repr(value)


def _encode(part: Node) -> dict[str, Any]:
    if isinstance(part, Branching):
        branches = [[_encode(inner) for inner in branch.nodes] for branch in part.branches]
        made = {"node": type(part).__name__, "branches": branches}
        if isinstance(part, Sum):
            if is_traced(part.weights):
                raise InputError("net", f"weights = {part.weights!r}", "concrete values (not inside jit or grad)")
            made["weights"] = list(part.weights)
        return made
    entry: dict[str, Any] = {"node": type(part).__name__}
    for f in dataclasses.fields(part):  # type: ignore[arg-type]
        value = getattr(part, f.name)
        if isinstance(value, Activation):
            if not value.registered:
                need = "a registered activation (a callable cannot be written as text)"
                name = value.name if value.name.isidentifier() and value.name not in FAMILIES else "my_activation"
                raise InputError("net", shown(value), need, f"Register it: lg.activation(fn, name={name!r}, kinks=...).")
            value = value.name
        if isinstance(value, tuple):
            value = [list(v) if isinstance(v, tuple) else v for v in value]
        if value is None:  # left out: the default
            continue
        if isinstance(value, Tracer) or not isinstance(value, (int, float, str, list)):
            raise InputError("net", f"{f.name} = {value!r}", "concrete values (not inside jit or grad)")
        entry[f.name] = value
    return entry


def loads(text: str) -> Serial:
    """The network that `lg.dumps` wrote. Never imports code.

    Parameters
    ----------
    text : str
        JSON or TOML, told apart by the first character.

    Returns
    -------
    Serial
        The network.

    Raises
    ------
    InputError
        For text that is neither, of another format or version, or with unknown nodes or fields.

    Examples
    --------
    >>> import largen as lg
    >>> net = lg.mlp(widths=[8], out=1, activation="leaky_relu(0.1)", C_W=1.9)
    >>> lg.loads(lg.dumps(net)) == net
    True
    """
    need = "JSON or TOML text as lg.dumps writes it"
    if not isinstance(text, str):
        raise InputError("text", f"a {type(text).__name__}", need)
    try:
        table = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError, TypeError) as error:  # malformed, integers of thousands of digits, brackets without end
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError("text", f"malformed text ({why})", need) from error
    return from_table(table)


def from_table(table: Any) -> Serial:
    """The network of an already parsed table (see docs/format.md)."""
    if not isinstance(table, dict) or table.get("format") != FORMAT or table.get("version") != VERSION:
        got = f"format {shown(table.get('format'))}, version {shown(table.get('version'))}" if isinstance(table, dict) else shown(table)
        raise InputError("text", got, f"format {FORMAT!r}, version {VERSION}")
    unknown = set(table) - {"format", "version", "nodes"}
    if unknown or not isinstance(table.get("nodes"), list):
        raise InputError("text", f"keys {shown(sorted(table))}", "the keys format, version, nodes (a list)")
    return _serial(table["nodes"], "nodes")


def _serial(entries: Any, where: str) -> Serial:
    if not isinstance(entries, list):
        raise InputError(where, shown(entries), "a list of nodes")
    if where.count(", branch") > DEEPEST:
        raise InputError("text", f"branches inside branches, {DEEPEST} deep", f"at most {DEEPEST} levels of them")
    return Serial(tuple(_decode(entry, f"{where}, entry {i}") for i, entry in enumerate(entries, 1)))


def _decode(entry: Any, where: str) -> Node:
    known = sorted(NODES)
    if not isinstance(entry, dict) or entry.get("node") not in known:
        raise InputError(where, shown(entry), f"a table whose `node` is one of {', '.join(known)}")
    kind: Any = NODES[entry["node"]]
    names = [f.name for f in dataclasses.fields(kind)]
    given = {k: v for k, v in entry.items() if k != "node"}
    required = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
    if set(given) - set(names) or required - set(given):
        raise InputError(where, f"fields {shown(sorted(given))}", f"the fields {', '.join(names)} of {entry['node']}")
    if "branches" in names:
        branches = given.pop("branches")
        if not isinstance(branches, list):
            raise InputError(where, f"branches = {shown(branches)}", "a list of branches, each a list of nodes")
        return kind(*(_serial(branch, f"{where}, branch {i}") for i, branch in enumerate(branches, 1)), **given)
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
