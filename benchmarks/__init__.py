"""Measurements that the documentation quotes. Not tests: nothing here asserts a time."""
