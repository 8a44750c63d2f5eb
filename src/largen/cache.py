"""Programs that JAX compiled, kept on disk from one command line to the next: in the user's cache folder, where there is one."""

import os
import platform
import sys
import warnings
import zlib
from pathlib import Path


def keep() -> None:
    """Let JAX, not yet imported, keep what it compiles, however small. What the user said of JAX's cache stands; where nothing can be
    written there is no cache, and no word about it."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = base() / "largen" / machine()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or none that can be written to
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # some processors lack, to XLA, what it compiled for on them: it says so a program
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache", UserWarning)  # JAX compiles anew


def base() -> Path:
    """The folder of the user for what can be made again, as the platform has it."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path.home() / ".cache"


def machine() -> str:
    """A name for what the processor can do: homes are shared between machines, and programs for one would crash another."""
    can = ""
    try:
        with open("/proc/cpuinfo") as file:
            can = next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:  # no Linux
        pass
    return f"{platform.machine()}-{zlib.crc32(can.encode()):08x}"
