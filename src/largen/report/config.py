"""What a report is asked for: every option, from the command line or a TOML file, checked before any work."""

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from largen.agreement.study import Plan, plan
from largen.architecture.chain import chain
from largen.architecture.nodes import Dense, Serial
from largen.architecture.presets import mlp
from largen.architecture.text import from_table
from largen.data.files import first_line
from largen.errors import InputError

LARGEST = 2**20  # bytes of a config
READOUT = 0.1  # C_W of the default network's last layer


class Mlp(BaseModel):
    """The table [mlp]: hidden widths, activation, C_W and C_b (numbers or one per affine layer) or C = "critical". None of them: critical
    in all layers but the last, whose weights are small, so that what is learned is not hidden behind the random start."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    widths: list[int] = Field(default=[512, 512, 512], min_length=1)
    activation: str = "relu"
    C_W: float | list[float] | None = None
    C_b: float | list[float] | None = None
    C: Literal["critical"] | None = None
    input_scale: float = 1.0

    def network(self, out: int) -> Serial:
        """The network with `out` outputs."""
        if self.C_W is not None or self.C_b is not None or self.C is not None:
            return mlp(self.widths, out, self.activation, self.C_W, self.C_b, self.C, self.input_scale)
        *hidden, _ = mlp(self.widths, out, self.activation, C="critical", input_scale=self.input_scale).nodes
        return Serial((*hidden, Dense(out, READOUT, 0.0)))


class Settings(BaseModel):
    """All options of `largen report`; those of a TOML file have the same names. See docs/report.md for each."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    data: str = "digits"
    target: str | None = None
    out: str = "largen-report"
    seed: int = Field(default=0, ge=0, lt=2**31)
    train: int | None = Field(default=None, ge=2)
    test: int | None = Field(default=None, ge=2)
    widths: list[int] | None = None
    networks: int = Field(default=8, ge=2)
    draws: int = Field(default=96, ge=2)
    steps: int | None = Field(default=None, ge=8)
    share: float | None = Field(default=None, gt=0, lt=1)
    pace: float = Field(default=0.5, gt=0, le=1)
    points: int = Field(default=32, ge=2)
    mlp: Mlp | None = None
    format: str | None = None
    version: int | None = None
    nodes: list[dict[str, Any]] | None = None

    def network(self, outputs: int | None = None) -> Serial:
        """The network, for data with so many outputs (None: not known yet). Raises `InputError` for what cannot be built."""
        if self.nodes is None:
            return (self.mlp or Mlp()).network(outputs or 1)
        if self.mlp is not None:
            raise InputError("config", "both [mlp] and nodes", "one description of the network")
        net = from_table({"format": self.format, "version": self.version, "nodes": self.nodes})
        width = chain(net)[-1].width
        if outputs is not None and width != outputs:
            raise InputError("nodes", f"a last layer of width {width}", f"{outputs}, one output per class or target of the data")
        return net

    def plan(self, outputs: int, points: int) -> Plan:
        """The plan of the study, kernels looked at on at most `points` points."""
        looked = min(self.points, points)
        net = self.network(outputs)
        return plan(net, self.widths, self.networks, self.draws, self.steps, self.pace, self.share, looked, self.seed)


def settings(config: str | None = None, **given: Any) -> Settings:
    """The settings of a TOML file (or the defaults), overridden by what was given. Raises `InputError`, in one sentence."""
    table = {} if config is None else _read(config)
    try:
        return Settings(**{**table, **{k: v for k, v in given.items() if v is not None}})
    except ValidationError as error:
        raise _in_one_sentence(error) from error


def _read(config: str) -> dict[str, Any]:
    need = "a TOML file, such as docs/report.md shows"
    try:
        with Path(config).open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise InputError("config", f"{config!r}, of more than {LARGEST // 2**20} MiB", need)
        return tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        raise InputError("config", f"{config!r}, which cannot be read ({error.strerror or error})", need) from error
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # text that is none, TOML that is none, integers of thousands of digits, deep nesting
        raise InputError("config", f"{config!r}, which is malformed ({first_line(error)})", need) from error


def _in_one_sentence(error: ValidationError) -> InputError:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        model = Mlp if first["loc"][0] == "mlp" else Settings
        near = difflib.get_close_matches(str(first["loc"][-1]), model.model_fields, n=1)
        known = ", ".join(model.model_fields)
        return InputError(place, "an option that does not exist", f"one of {known}", f"Did you mean {near[0]!r}?" if near else "")
    message = first["msg"][0].lower() + first["msg"][1:]
    return InputError(place, repr(first["input"])[:200], message.removeprefix("input should be "))
