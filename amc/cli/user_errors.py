"""Errors as users are told of them: one line, and an exit code."""

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from amc.config.hydra_messages import one_line_of
from amc.errors import ConfigError, StorageError, UserError

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Environment variable that asks for tracebacks."""
QUEUE = "submitit."
"""Whose errors are of jobs that were refused, or lost: they hold what the cluster says, and where the logs are."""
# What torch says on a CPU, and on a GPU.
NO_MEMORY = ("can't allocate memory", "out of memory")


def as_user_error(error: Exception) -> UserError:
    """Return an error as one of the kinds that have an exit code, with a message of one line."""
    # A resolver of this package says what is wrong; OmegaConf wraps it, once for each reference to the value.
    cause: BaseException | None = error
    while isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, UserError):
        return cause
    if isinstance(error, (HydraException, OmegaConfBaseException)) or type(error).__module__.startswith(QUEUE):
        return ConfigError(one_line_of(error))
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        line = one_line_of(error).partition(". ")[0] or "no memory is left"
        return ConfigError(f"{line}: lower train.batch_size, data.search or data.calibration")
    if isinstance(error, OSError):
        return StorageError(one_line_of(error))
    if isinstance(error.__cause__, OSError) and "configure handler" in str(error):
        return StorageError(f"the log cannot be written ({one_line_of(error.__cause__)})")
    return UserError(f"{type(error).__name__}: {one_line_of(error)} (a bug? {FULL_ERROR}=1 shows where)")
