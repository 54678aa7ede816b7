"""Columns of CSV, Parquet and cube files, as numbers and texts."""
