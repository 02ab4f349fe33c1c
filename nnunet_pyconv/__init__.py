"""nnunet-pyconv: pyramidal convolutions (PyConv) for a stock nnU-Net v2."""

__version__ = "0.1.0"
