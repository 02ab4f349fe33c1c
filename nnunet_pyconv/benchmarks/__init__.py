"""Measurements of speed and memory, one subject a module: `nnunet_pyconv benchmark SUBJECT`.

Each subject has a function that measures and returns tables, which `report.py` writes (`complexity` and `designs` write
theirs). No test asserts a time.
"""
