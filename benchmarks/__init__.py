"""Measurements that the documentation quotes. Not tests: nothing here asserts a time."""

import model  # noqa: F401  sets how threads wait, before torch is imported: as in the program that is measured
