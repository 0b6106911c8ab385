"""``amc.prune`` and its result: the search in one Python call."""
