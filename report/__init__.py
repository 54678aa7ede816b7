"""What a person sees of a run: progress, the run folder and its page. Imports neither matplotlib nor zarr."""
