"""Files that weights come in, opened and read without torch: nothing here knows a network."""
