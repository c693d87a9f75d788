"""The operations in plain NumPy, by the name that they have had from the first version on."""

from vimnp.ops.reference import Direction as Direction
from vimnp.ops.reference import ScanResult as ScanResult
from vimnp.ops.reference import causal_conv1d as causal_conv1d
from vimnp.ops.reference import causal_conv1d_update as causal_conv1d_update
from vimnp.ops.reference import conv2d as conv2d
from vimnp.ops.reference import cross_merge as cross_merge
from vimnp.ops.reference import cross_scan as cross_scan
from vimnp.ops.reference import gelu as gelu
from vimnp.ops.reference import layer_norm as layer_norm
from vimnp.ops.reference import norm as norm
from vimnp.ops.reference import refuse_complex as refuse_complex
from vimnp.ops.reference import scan_directions as scan_directions
from vimnp.ops.reference import selective_scan as selective_scan
from vimnp.ops.reference import selective_scan_2d as selective_scan_2d
from vimnp.ops.reference import selective_scan_bidirectional as selective_scan_bidirectional
from vimnp.ops.reference import selective_state_update as selective_state_update
from vimnp.ops.reference import silu as silu
from vimnp.ops.reference import softplus as softplus
