"""Runtimes that networks are timed in, tables of latencies, and the files that runtimes load."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
