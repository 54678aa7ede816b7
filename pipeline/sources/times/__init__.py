"""Days, dates and steps of a season, and dates that were misread."""
