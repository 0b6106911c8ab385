"""Errors that a user can cause: one line that says what, where and what to do, and the exit code of its kind."""

INTERRUPTED = 130
"""Exit code where a signal asked for an end."""


class UserError(Exception):
    """What a user can mend; the message is one line. Only its kinds are raised."""

    exit_code = 1


class ConfigError(UserError):
    """A key or a value of the configuration is wrong."""

    exit_code = 2


class ModelError(UserError):
    """The model, or the target asked of it, cannot work."""

    exit_code = 3


class RefusedInput(UserError):
    """A file from outside is not what it should be."""

    exit_code = 4


class StorageError(UserError):
    """A file cannot be had, read or written."""

    exit_code = 5
