"""report.html of a run: one file that opens offline, made from the run folder and the run's season table."""

from report.run_page.page import write_page

__all__ = ["write_page"]
