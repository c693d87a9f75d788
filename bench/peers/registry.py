"""Every network of pictures, of whichever comparison, by its name."""

from __future__ import annotations

from peers import networks
from peers.int8 import networks as int8_networks
from peers.networks import Network
from peers.vmamba import networks as vmamba_networks

ALL_NETWORKS: dict[str, Network] = {
    **networks.NETWORKS,
    **int8_networks.NETWORKS,
    **vmamba_networks.NETWORKS,
}
