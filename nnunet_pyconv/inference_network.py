"""The network that a trainer of nnU-Net makes of plans, as nnU-Net builds it to predict with."""

from __future__ import annotations

import inspect
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn


def build_inference_network(
    trainer: type[nnUNetTrainer],
    plans: PlansManager,
    configuration: ConfigurationManager,
    dataset_json: dict[str, Any],
) -> nn.Module:
    """Build the network without deep supervision, by the trainer's method as nnU-Net has it today or had it earlier.

    As `nnUNetPredictor.initialize_from_trained_model_folder` does (nnU-Net, predict_from_raw_data.py). Whatever plans
    and trainers of others raise is passed on.

    Args:
        trainer: The class.
        plans: The plans.
        configuration: Of these plans.
        dataset_json: nnU-Net's `dataset.json`.
    """
    inputs = determine_num_input_channels(plans, configuration, dataset_json)
    outputs = plans.get_label_manager(dataset_json).num_segmentation_heads
    build: Any = trainer.build_network_architecture
    described = (
        (plans, configuration)
        if "plans_manager" in inspect.signature(build).parameters
        else (
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
        )
    )
    network: nn.Module = build(*described, inputs, outputs, enable_deep_supervision=False)
    return network
