"""Equinox models. The library is imported when a function is called."""

from largen.adapters.equinox import init as init, table as table
