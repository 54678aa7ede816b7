"""Checks of what was read. They report findings or reject the table; they change nothing."""
