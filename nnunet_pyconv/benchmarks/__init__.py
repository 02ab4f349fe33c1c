"""Measurements of speed and memory, one subject a module: `nnunet_pyconv benchmark SUBJECT`.

Each subject has a function that measures and returns tables; `report.py` alone writes them. No test asserts a time.
"""
