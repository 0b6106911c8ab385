"""What ``python -m amc.compare`` does: run folders to problems, problems to figures, figures to a page."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
