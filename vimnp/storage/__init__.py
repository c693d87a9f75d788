"""Files of every kind: opened with care, written whole or not at all, and never trusted."""
