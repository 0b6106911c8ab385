"""The files of a run: written so that a kill leaves them whole, checked when read."""
