"""The paper's training recipe as a trainer of nnU-Net."""

from __future__ import annotations

import pydoc
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import distributed, nn

from nnunet_pyconv.architectures import UNetPlusPlus
from nnunet_pyconv.architectures.pyconv_unet import check_patch_size
from nnunet_pyconv.names import BEST_CHECKPOINT
from nnunet_pyconv.trainers.flips_and_rotations import flips_and_rotations
from nnunet_pyconv.trainers.seed import SeededTrainer
from nnunet_pyconv.trainers.whole_pass_loader import WholePassDataLoader


class nnUNetTrainerPyConvPaper(SeededTrainer):
    """Trains the network of the plans by the recipe of the PyConvU-Net paper (sections "Results" and "Methods").

    Made for `PyConvUNetPaperPlans` (`nnunet_pyconv plan --paper`), whose patch is the whole image and whose batch is 5;
    it takes the networks, patch and batch of any 2D plans. Where it differs from nnU-Net's recipe:

    - **Length.** 50 epochs of one pass over the training cases (nnU-Net: 1000 of 250 random batches). Validation is one
      pass over the validation cases.
    - **Optimiser.** Adam, learning rate 1e-3, constant, no weight decay (SGD with Nesterov momentum, polynomial decay).
      The paper's text names neither optimiser nor loss; these are its published code's.
    - **Loss.** Cross entropy alone (Dice and cross entropy). For one class the paper has one logit z, a sigmoid and
      binary cross entropy; nnU-Net has two logits and a softmax. With `z = z1 - z0` the two have the same value, the
      same gradient with respect to z and, by argmax, the same segmentation as a threshold of 0.5. What isn't equal is
      that the head has a second, redundant row of weights, so that z starts with twice the variance and Adam, which
      moves both rows, changes z's weights by up to twice the learning rate. A dataset with region-based labels has one
      logit each and gets sigmoid and binary cross entropy literally.
    - **Augmentation.** Horizontal flip, vertical flip, rotation by 90° and by 180°, see `flips_and_rotations` (many
      more).
    - **Deep supervision.** None, except for UNet++, the loss of whose four heads is averaged (every decoder stage,
      lower resolutions with lower weights).
    - **Sampling.** Every case once, without foreground oversampling.
    - **Best epoch.** The one with the highest foreground Dice over all validation pixels is kept in
      `checkpoint_best.pth` (by a moving average over epochs); the published code takes the highest mean IoU of the
      images. The final validation uses it (the last epoch), and `nnUNetv2_predict` with `-chk checkpoint_best.pth`.
      As in the paper, the cases that choose the epoch are those that the validation scores: an optimistic score.
    - **Prediction.** No mirroring.
    - **Checkpoints.** `checkpoint_latest.pth` every 5 epochs (50), for `--c`.

    What stays nnU-Net's: normalisation of the images, mixed precision on CUDA, clipping of gradients, inference.

    Raises:
        NotImplementedError: Plans in 3D, or a cascade.
        ValueError: Plans whose patch is too small for their pyramids.
    """

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  # nnU-Net's signature
    ) -> None:
        planned = PlansManager(plans).get_configuration(configuration)
        check_patch_size(planned.patch_size, planned.network_arch_init_kwargs)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if len(self.configuration_manager.patch_size) != 2 or self.is_cascaded:
            raise NotImplementedError(
                f"{type(self).__name__} is for 2D configurations without cascade, as the paper is; {configuration} "
                f"has the patch size {self.configuration_manager.patch_size}"
            )
        self.num_epochs = 50
        self.initial_lr = 1e-3
        self.weight_decay = 0
        self.oversample_foreground_percent = 0
        self.save_every = 5
        network_class = pydoc.locate(self.configuration_manager.network_arch_class_name)
        self.enable_deep_supervision = isinstance(network_class, type) and issubclass(network_class, UNetPlusPlus)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """Return Adam and a schedule that leaves its learning rate as it is."""
        optimizer = torch.optim.Adam(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs, exponent=0)

    def _build_loss(self) -> nn.Module:
        ignore_label = self.label_manager.ignore_label
        loss: nn.Module
        if self.label_manager.has_regions:
            loss = DC_and_BCE_loss({}, {}, weight_dice=0, use_ignore_label=ignore_label is not None)
        else:
            loss = DC_and_CE_loss({}, {}, weight_dice=0, ignore_label=ignore_label)
        if self.enable_deep_supervision:
            n_heads = len(self._get_deep_supervision_scales())
            loss = DeepSupervisionWrapper(loss, [1 / n_heads] * n_heads)
        return loss

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Return endless iterators over the batches of training and validation, and set the length of an epoch."""
        patch_size = self.configuration_manager.patch_size
        if patch_size[0] != patch_size[1]:
            self.print_to_log_file(f"No rotation by 90°: the patch of {patch_size} is not square.")
        for_both = self.get_validation_transforms(
            self._get_deep_supervision_scales(),
            foreground_labels=self.label_manager.foreground_labels,
            regions=self.label_manager.foreground_regions if self.label_manager.has_regions else None,
            ignore_label=self.label_manager.ignore_label,
        )
        for_training = ComposeTransforms([*flips_and_rotations(patch_size), *for_both.transforms])
        training, validation = self.get_tr_and_val_datasets()
        n_workers = get_allowed_n_proc_DA()
        train_loader = self._loader(training, for_training, n_workers, self._shuffle_seed())
        val_loader = self._loader(validation, for_both, n_workers // 2 if n_workers > 1 else n_workers, None)
        self.num_iterations_per_epoch = train_loader.batches_per_epoch
        self.num_val_iterations_per_epoch = val_loader.batches_per_epoch
        return self._augmenter(train_loader), self._augmenter(val_loader)

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Let each epoch stand for itself: nnU-Net takes the best by what is logged as a moving average."""
        super().on_validation_epoch_end(val_outputs)
        self.logger.get_value("ema_fg_dice", step=None)[-1] = self.logger.get_value("mean_fg_dice", step=-1)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Validate the best epoch; where no checkpoints are written, the last one."""
        if self.is_ddp:
            distributed.barrier()  # the first process may still be writing it
        best = Path(self.output_folder) / BEST_CHECKPOINT
        if best.is_file() and not self.disable_checkpointing:
            self.load_checkpoint(str(best))
            self.print_to_log_file(f"Validating the best epoch, {self.current_epoch - 1}, of {best}")
        super().perform_actual_validation(save_probabilities)

    def _shuffle_seed(self) -> int:
        """Draw a seed, the same on all GPUs."""
        seed = [int(np.random.randint(2**31))]
        if self.is_ddp:
            distributed.broadcast_object_list(seed)
        return seed[0]

    def _loader(self, data: Any, transforms: Any, n_workers: int, shuffle_seed: int | None) -> WholePassDataLoader:
        return WholePassDataLoader(
            data,
            self.configuration_manager.batch_size,
            self.configuration_manager.patch_size,
            self.label_manager,
            transforms,
            shuffle_seed=shuffle_seed,
            n_workers=max(1, n_workers),
            rank=self.local_rank,
            world_size=distributed.get_world_size() if self.is_ddp else 1,
        )

    def _augmenter(self, loader: WholePassDataLoader) -> Any:
        if get_allowed_n_proc_DA() == 0:
            return SingleThreadedAugmenter(loader, None)
        n_workers = loader.number_of_threads_in_multithreaded
        augmenter = MultiThreadedAugmenter(  # nnU-Net's own, the non-deterministic one, would mix the epochs
            loader,
            None,
            n_workers,
            seeds=[int(seed) for seed in np.random.randint(2**31, size=n_workers)],
            pin_memory=self.device.type == "cuda",
            wait_time=0.002,
        )
        augmenter.restart()  # its processes are forked now, not when they would hold a copy of a training's memory
        return augmenter
