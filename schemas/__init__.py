"""What crosses the border: canonical events (`schemas.events`) and the columns they become (`schemas.frames`).

Imports nothing else of the project.
"""

from schemas.events import Event, RejectedError, ScanStatus, json_schema, parse

__all__ = ["Event", "RejectedError", "ScanStatus", "json_schema", "parse"]
