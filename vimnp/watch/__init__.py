"""What a camera or a video shows: where pictures come from, and what is done when they change."""
