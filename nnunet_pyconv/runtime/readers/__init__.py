"""nnU-Net's readers and writers of images (imageio/), by the names that plans give them.

Each is a module of its own, imported when a model needs it, so that a model of PNGs needs no library for NIfTI.
"""

from nnunet_pyconv.runtime.readers.choice import missing_packages, reader_named

__all__ = ["missing_packages", "reader_named"]
