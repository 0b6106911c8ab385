from .exporting import export_run as export_run
from .profiling import ask_elsewhere as ask_elsewhere
from .profiling import measure_here as measure_here
from .saved_run import saved_config as saved_config
from .saved_run import saved_network as saved_network
