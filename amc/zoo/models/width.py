"""The width multiplier shared by the models of the zoo."""


def scale_channels(channels: int, width: float) -> int:
    """Scale a channel count, rounded to a multiple of 8 from 16 up, as MobileNets do, else of 2.

    Raises:
        ValueError: ``width`` is not positive.
    """
    if width <= 0:
        raise ValueError(f"width={width}: the width multiplier must be positive")
    scaled = channels * width
    multiple = 8 if scaled >= 16 else 2
    return max(multiple, round(scaled / multiple) * multiple)
