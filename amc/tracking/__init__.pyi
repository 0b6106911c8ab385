from .make import make_tracker as make_tracker
from .process import TrackerProcess as TrackerProcess
from .tracker import Ending as Ending
from .tracker import Figures as Figures
from .tracker import TrackedRun as TrackedRun
