"""Benchmarks: ratios against peers, taken alternately in one run. Never part of the test suite."""
