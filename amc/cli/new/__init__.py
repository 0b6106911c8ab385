"""The front page, ``amc-search new``: questions with defaults, a file of answers, and its command."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
