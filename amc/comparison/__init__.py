"""What ``python -m amc.compare`` does: run folders to problems, problems to figures, figures to a page."""
