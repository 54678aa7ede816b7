"""Names of places: a normal form, names of several columns, and names that nearly match."""
