"""What comes behind a search: its network for other runtimes, and tables of latencies for other machines."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
