"""What Hydra and OmegaConf say, in one line."""

import sys

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

# Where Hydra's messages stop being about the mistake: where it searched, how to get round the schema.
TAILS = ("Config search path", "To append to your config", "full_key:", "object_type=", "reference_type=", "\nSee ")


def one_line_of(error: BaseException) -> str:
    """Return the message of an error of Hydra, and of its cause, without line breaks."""
    messages = [str(error)]
    key = getattr(error, "full_key", None)
    if key and str(key) not in messages[0].partition(TAILS[2])[0]:
        messages.insert(0, str(key))
    if isinstance(error, InterpolationKeyError) and str(key).startswith("hydra."):
        # A name in the run's folder: what was asked says more than where Hydra puts it.
        missing = messages[-1].partition("'")[2].partition("'")[0]
        messages[0] = next((each for each in sys.argv[1:] if f"${{{missing}}}" in each), messages[0])
    if isinstance(error, OverrideParseException):
        messages.insert(0, f"cannot read {error.override!r}")
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        messages.append(str(error.__cause__))
    for tail in TAILS:
        messages = [message.partition(tail)[0] for message in messages]
    messages = [message.strip().replace("\n\n", "; ") for message in messages]
    return ": ".join(" ".join(message.split()).rstrip(".") for message in messages if message)
