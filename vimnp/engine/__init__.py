"""A network's program: built from stages and operations, checked, and run in one region."""
