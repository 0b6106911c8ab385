"""Trackers: where a run is reported to beside its folder. Each one runs in a process of its own."""
