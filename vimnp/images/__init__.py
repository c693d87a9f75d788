"""Pictures: read from a file or taken as they are, then resized, cropped and normalised."""
