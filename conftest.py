"""What the doctest collector leaves out: modules of optional dependencies that are not installed."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("torch") else ["src/largen/adapters/torch_graph.py"]
