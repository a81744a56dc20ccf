"""Prefect's settings as this program wants them. Import it before prefect; what the user has set himself stays.

Without PREFECT_API_URL, Prefect starts an ephemeral server for the length of the flow, over the same database that
`prefect server start` shows afterwards.
"""

from __future__ import annotations

import os

DEFAULTS = {
    # Reports to its makers would only time out on machines that are off the net.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # On two cores that are busy importing engines, the server takes longer than the default 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The terminal belongs to our own display; Prefect's log goes to its database and shows in the UI.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


def apply() -> None:
    """Set what is not set."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
