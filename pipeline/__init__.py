"""From files to drawn series: read, table, split, scale, window, key, draw. Imports neither torch nor zarr."""
