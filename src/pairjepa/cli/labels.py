"""To come."""

from cyclopts import App


def add(app: App) -> None:
    """Give these verbs to the command line."""
