"""ImageNet weights for the encoders that are well-known classifiers."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch import nn


def load_imagenet_weights(encoder: nn.Module, weights: Any) -> None:
    """Load torchvision's weights into an encoder whose parameters have torchvision's names.

    They are downloaded once, into the folder of `torch.hub`. Where the encoder has another number of input channels
    than 3, its first convolution gets the mean over red, green and blue for each channel, scaled so that a grey image
    gives the same answer as in colour.

    Args:
        encoder: The module to fill.
        weights: A member of torchvision's `WeightsEnum`, for example `ResNet34_Weights.IMAGENET1K_V1`.

    Raises:
        RuntimeError: The weights can't be downloaded or read, or don't suit the encoder.
    """
    folder = f"{torch.hub.get_dir()}/checkpoints"
    try:
        downloaded = weights.get_state_dict(check_hash=True)
    except OSError as error:  # urllib's errors are its children
        raise RuntimeError(
            f"the ImageNet weights {weights} could not be downloaded ({error}); "
            f"put {weights.url} into {folder}, or use pretrained=False"
        ) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise RuntimeError(
            f"the ImageNet weights {weights} are damaged ({type(error).__name__}); remove the file "
            f"{weights.url.rpartition('/')[2]} from {folder}, and it is downloaded again"
        ) from error
    expected = encoder.state_dict()
    state = {name: downloaded[name] for name in expected if name in downloaded}
    first = next(iter(expected))
    channels = expected[first].shape[1]
    if first in state and channels != state[first].shape[1]:
        state[first] = state[first].mean(1, keepdim=True).repeat(1, channels, 1, 1) * (3 / channels)
    encoder.load_state_dict(state)
