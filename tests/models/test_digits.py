"""The bundled model: what it is, and that it reads digits.

bench/test_train_digits.py has its accuracy on all the scans that training never saw.
"""

from __future__ import annotations

import vimnp
from tests.support.digits import SCANS
from tests.support.implementations import every_scan_of_every_way
from vimnp.weights import BUNDLED_DIGITS, WeightsFile


def test_it_is_small_and_of_half_precision():
    assert BUNDLED_DIGITS.stat().st_size <= 500_000
    with WeightsFile(BUNDLED_DIGITS) as file:
        assert file.metadata.dtype == "float16"
        assert file.metadata.labels == tuple("0123456789")


@every_scan_of_every_way
def test_it_reads_the_scans_of_this_repository(way, scan):
    assert len(SCANS) == 10
    model = vimnp.VisionMamba.from_npz(BUNDLED_DIGITS, scan=scan)
    for digit, path in enumerate(SCANS):
        best = model.predict(path, top_k=1)[0]
        assert (best.label, best.index) == (str(digit), digit)
        assert best.score > 0.5
