"""The page report.html: one offline file out of what `pairjepa.report.collect` knows."""

from pairjepa.report.page.html import render, write_page

__all__ = ["render", "write_page"]
