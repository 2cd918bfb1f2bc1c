"""What people read: the HTML page, the plots, the Markdown and JSON records."""

from bench.report.page import render
from bench.report.record import as_json, write_markdown
from bench.report.view import ReportView, build

__all__ = ["ReportView", "as_json", "build", "render", "write_markdown"]
