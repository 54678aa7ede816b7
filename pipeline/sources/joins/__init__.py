"""Join several sources to one table by place and date."""
