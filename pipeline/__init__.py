"""From files to drawn series: read, validate, split, scale, window, key and draw. Imports neither torch nor zarr."""
