"""A small shop: a catalogue, orders and refunds over HTTP."""

from importlib.metadata import version

__version__ = version("shop")
