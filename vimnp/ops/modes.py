"""The ways to scan; :func:`vimnp.ops.selective_scan_bidirectional` says what each does."""

UNFUSED_MODES = ("sequential", "fixlen")
"""Of one direction, or of one after the other."""

SCAN_MODES = (*UNFUSED_MODES, "fused", "fused_fixlen")
