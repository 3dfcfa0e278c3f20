"""Everything that is printed: the console, the progress display and the tables."""
