"""The files of a run: written so that a kill leaves them whole, checked when read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
