"""The data page: one HTML file that shows the contents and the oddities of a season table before training.

`summary.py` gathers what `series.py`, `yields.py`, `places.py`, `plots.py` and `findings.py` compute. `charts.py`,
`tables.py` and `season.py` present it, and `page.py` writes the page.
"""
