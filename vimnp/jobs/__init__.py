"""Many pictures: which they are, what comes of each, and the table that it is written to."""
