"""Converters from the datasets' own files to nnU-Net's raw format."""
