"""Runs of several searches: in stages on the way to the target, or with the target itself searched for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
