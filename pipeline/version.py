"""The version of this project, which every program prints with `--version`."""

__version__ = "0.2.0"  # pyproject.toml, result.json and `--version` read it here
