from .watch import watch as watch
