"""The comparison of language models: what its parts say without measuring, on the smallest sizes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from memory_rate import Memory
from peers.language.command import main
from peers.language.networks import NETWORKS
from peers.language.one import CHECK, check
from peers.language.processes import CODE, Case
from peers.language.sizes import SIZES
from peers.language.targets import targets
from peers.language.weights_files import WRITE
from peers.language.workloads import BATCH, LONGEST, WORKLOADS

CONFIG = SIZES["tiny"]
