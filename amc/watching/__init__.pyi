from .loop import watch as watch
