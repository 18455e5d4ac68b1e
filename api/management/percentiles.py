"""Percentiles of histograms whose n-th bucket ends at 2^((n-1)/3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

FRACTIONS = (0.5, 0.95, 0.99)


def merged(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The histogram of all their values."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        total.update(histogram)
    return dict(total)


def percentile(histogram: Mapping[int, int], fraction: float) -> float:
    """The value below which this share of the values lies, as far as buckets tell: to within 26 percent."""
    wanted, seen = fraction * sum(histogram.values()), 0
    for bucket in sorted(histogram):
        count = histogram[bucket]
        if seen + count >= wanted:
            return _inside(bucket, (wanted - seen) / count)
        seen += count
    raise ValueError("a histogram without values")


def _inside(bucket: int, share: float) -> float:
    if bucket == 1:
        return 1.0
    exact = 2 ** ((bucket - 2 + share) / 3)
    return float(f"{exact:.3g}")
