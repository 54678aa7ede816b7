"""The exception for bad input. Its message names the file, the value, the limit and the next step."""

from __future__ import annotations


class InputError(Exception):
    """Bad arguments or bad input. Entry points print it as one paragraph and exit with 2; nothing was written.

    The message states the place (file, column, row), the value found, the values allowed, and what to do.
    """
