"""A seed for trainings: nnU-Net has none."""

from __future__ import annotations

import os
import random

import numpy as np
import torch

from nnunet_pyconv.names import SEED_VARIABLE
from nnunet_pyconv.trainers.chosen_backends import ChosenBackends


class SeededTrainer(ChosenBackends):
    """nnU-Net's trainer, with the seed that the environment variable `NNUNET_PYCONV_SEED` gives, if it is set.

    It seeds Python, numpy and torch before the network is made, and is kept in nnU-Net's `debug.json`. It determines
    the initial weights, and what a trainer draws in the main process. It doesn't determine:

    - nnU-Net's own data augmentation, whose worker processes seed themselves;
    - the order of floating-point sums: nnU-Net lets cuDNN choose its algorithms by time;
    - a training that was interrupted: a checkpoint doesn't hold the state of the random numbers.

    Attributes:
        seed: The seed, None without one.
    """

    seed: int | None = None

    def initialize(self) -> None:
        """Seed, then let nnU-Net make network, optimiser and loss.

        Raises:
            ValueError: A seed that is no whole number from 0 to 2^32 - 1.
        """
        given = os.environ.get(SEED_VARIABLE)
        if given is not None:
            if not given.isdecimal() or int(given) >= 2**32:
                raise ValueError(f"{SEED_VARIABLE}={given}: expected a whole number from 0 to 2^32 - 1")
            self.seed = int(given)
            random.seed(self.seed)
            np.random.seed(self.seed)
            torch.manual_seed(self.seed)
        super().initialize()
