"""Trackers: where a run is reported to beside its folder. Each one runs in a process of its own."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
