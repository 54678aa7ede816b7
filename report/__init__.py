"""The output of a run: progress, the run folder and its HTML page. Imports neither matplotlib nor zarr."""
