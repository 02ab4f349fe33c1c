"""A data loader whose epoch is one pass over the cases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader


class WholePassDataLoader(nnUNetDataLoader):
    """nnU-Net's data loader, but each epoch gives every case once, where nnU-Net's draws with replacement.

    An epoch's cases are divided into as few batches as `batch_size` allows, whose sizes differ by one at most: 23 cases
    are four batches of five and one of three with torch's loader, and three of five and two of four here, so that none
    is too small for batch normalisation. With several worker processes, worker t of n gives the batches t, t + n, ...;
    a `MultiThreadedAugmenter` puts them in order again.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        patch_size: Sequence[int],
        label_manager: Any,
        transforms: Any,
        *,
        shuffle_seed: int | None = None,
        n_workers: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Prepare the loader.

        Args:
            data: nnU-Net's dataset of preprocessed cases.
            batch_size: Cases in a batch, over all GPUs.
            patch_size: `(Y, X)` in pixels; larger images are cropped at random, smaller ones padded.
            label_manager: nnU-Net's.
            transforms: Applied to each case.
            shuffle_seed: Seed of the order of the cases, which is another one in each epoch; None keeps them sorted.
            n_workers: Number of processes that load.
            rank: Number of this GPU among those that share the batches.
            world_size: Number of GPUs.

        Raises:
            ValueError: Fewer cases in a batch than GPUs.
        """
        super().__init__(data, batch_size, patch_size, patch_size, label_manager, transforms=transforms)
        self.number_of_threads_in_multithreaded = n_workers
        self.shuffle_seed = shuffle_seed
        self.rank, self.world_size = rank, world_size
        self.batches_per_epoch = math.ceil(len(self.indices) / batch_size)
        smallest = len(self.indices) // self.batches_per_epoch
        if smallest < world_size:
            raise ValueError(
                f"{len(self.indices)} cases in batches of {batch_size} leave a batch of {smallest}, which "
                f"{world_size} GPUs can't share; use fewer with -num_gpus"
            )
        self._batches: Iterator[np.ndarray] | None = None

    def get_indices(self) -> np.ndarray:
        """Return the cases of this worker's next batch, or this GPU's share of them."""
        if self._batches is None:  # here, since only now the worker process has its number
            self._batches = islice(self._all_batches(), self.thread_id, None, self.number_of_threads_in_multithreaded)
        cases = np.array_split(next(self._batches), self.world_size)[self.rank]
        self.batch_size = len(cases)  # nnU-Net's generate_train_batch makes room for as many
        return cases

    def _all_batches(self) -> Iterator[np.ndarray]:
        for epoch in count():
            cases = self.indices
            if self.shuffle_seed is not None:
                cases = np.random.default_rng((self.shuffle_seed, epoch)).permutation(cases)
            yield from np.array_split(cases, self.batches_per_epoch)
