"""The sorting network of the order statistics sorts everything."""

from __future__ import annotations

import pytest

from processes.kernels.order import _network


@pytest.mark.parametrize("n", range(1, 12))
def test_the_network_sorts_every_zero_one_sequence(n):
    # the 0-1 principle (Knuth, TAOCP 3, 5.3.4): a network that sorts these sorts everything
    for code in range(1 << n):
        bits = [code >> k & 1 for k in range(n)]
        for i, j in _network(n):
            bits[i], bits[j] = min(bits[i], bits[j]), max(bits[i], bits[j])
        assert bits == sorted(bits)
