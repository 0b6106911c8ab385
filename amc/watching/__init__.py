"""What ``python -m amc.compare --watch`` does: a study that fills up, as its files tell."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
