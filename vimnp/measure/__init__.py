"""Time and machine: what a pass takes, where it goes, and what the hardware could do."""
