"""Measurements quoted in the documentation. They are not tests, and assert no time."""

import model  # noqa: F401  sets how threads wait before torch is imported, as in the measured program
