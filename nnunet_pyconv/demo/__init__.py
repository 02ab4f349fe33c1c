"""The demo: nnU-Net's whole chain on a small data set."""
