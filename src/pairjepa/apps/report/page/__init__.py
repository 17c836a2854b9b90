"""The page report.html: one offline file out of what `pairjepa.apps.report.collect` knows."""

from pairjepa.apps.report.page.html import render, write_page

__all__ = ["render", "write_page"]
