"""The Triton kernels for NVIDIA GPUs, and the choice between them and the reference."""
