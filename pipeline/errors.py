"""The one exception a person sees: a paragraph that names the file, the value, the limit and the next step."""

from __future__ import annotations


class InputError(Exception):
    """Bad arguments or bad input. Entry points print it as one paragraph and exit 2; nothing was written.

    The message is complete on its own: where (file, column, row), what was found, what is allowed, what to do.
    """
