"""What this machine has: the device to compute with, the time that networks take on it, and its memory."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
