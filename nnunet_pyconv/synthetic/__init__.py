"""Synthetic data and a throw-away nnU-Net workspace, for the demo, the benchmarks and the tests."""
