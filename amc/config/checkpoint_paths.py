"""The file of ``model.checkpoint``: where it is, and what tells it from others.

Its content is for ``amc.weights.checkpoint``.
"""

import hashlib
import stat
from pathlib import Path

from amc.errors import ConfigError

MAX_BYTES = 16 << 30


def checkpoint_file(checkpoint: str) -> Path:
    """Return the path of a checkpoint that is there.

    Raises:
        ConfigError: it is no file, or larger than any network is.
    """
    path = Path(checkpoint).expanduser()
    # A pipe would block, and a device may never end.
    if not path.is_file() or not stat.S_ISREG(path.stat().st_mode):
        raise ConfigError(f"model.checkpoint={checkpoint} is no file: give a .safetensors file or a torch state dict")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"model.checkpoint={checkpoint} is larger than {MAX_BYTES >> 30} GB")
    return path


def checkpoint_digest(checkpoint: str) -> str:
    """Return the SHA-256 of a checkpoint's bytes, by which runs on different networks are told apart.

    Raises:
        ConfigError: there is no such file.
    """
    with checkpoint_file(checkpoint).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
