"""Measuring: rows answered and scored, metrics with intervals, paired comparisons, three verdicts."""
