"""The compiled kernel for CPUs: its C sources, their compilation, and the torch operators that call it."""
