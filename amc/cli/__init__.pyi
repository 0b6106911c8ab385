from .command import chosen as chosen
from .command import end_sweep as end_sweep
from .command import output_folder as output_folder
from .command import reporting as reporting
from .command import run_command as run_command
from .entry import enter as enter
from .user_errors import FULL_ERROR as FULL_ERROR
from .user_errors import as_user_error as as_user_error
