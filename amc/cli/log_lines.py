"""Log lines that no name can tear or colour: files and libraries have their say in them."""

import logging

from amc.names import printable_line


class LineFormatter(logging.Formatter):
    """Brings every message to one line without control characters; a traceback behind it keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """Return the line."""
        record.message = printable_line(record.message)
        return super().formatMessage(record)
