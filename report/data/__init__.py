"""The data page: what a season table holds, what is odd about it and what settles it, in one HTML file before training.

look gathers, the summaries compute, charts and tables show: `look.py` -> `series.py`, `yields.py`, `places.py`,
`season.py`, `plots.py`, `findings.py` -> `charts.py`, `tables.py` -> `page.py`.
"""
