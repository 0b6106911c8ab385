"""Where the YAML files of the configuration are."""

from pathlib import Path

_BESIDE = Path(__file__).parents[1] / "conf"
# A wheel carries the folder inside the package; in a checkout it stands at the top.
CONF = _BESIDE if _BESIDE.is_dir() else Path(__file__).parents[2] / "conf"
