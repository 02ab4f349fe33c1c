"""`nnunet_pyconv benchmark SUBJECT`: run a measurement of benchmarks; one module a subject has its arguments."""

from __future__ import annotations

import argparse

from nnunet_pyconv.cli.parser import add_commands

SUBJECTS = {
    "layer": "a PyConv layer in each backend against a dense 3 x 3 convolution",
    "network": "a training step and a prediction of nnU-Net's planned network, memory included",
    "predict": "nnU-Net's predictor on an image: sliding window, mirroring",
    "scaling": "a layer's time against pixels, channels, batch and threads, with a plot",
    "levels": "single levels in each backend: what the cost rules are fitted to (CPU)",
    "conversion": "the converters of datasets against reading and writing the same files",
    "designs": "trainings of blocks, widths and depths on the paper's data sets, scored on unseen cases",
    "volumes": "stock and PyConv trainings of nnU-Net on small volumes: speed, memory and Dice",
    "runtimes": "what each design costs: a training step, memory, an inference in PyTorch, ONNX Runtime, OpenVINO",
    "precisions": "trained models in float32, half precision and 8 bit: Dice, file, time and memory",
    "cold_start": "a prediction from the shell to the labels: nnUNetv2_predict, and a model file",
    "training_memory": "the planners' estimate of a training's memory against what it takes (GPU)",
    "all": "what compares PyConv with the stock network, as steps that can be resumed",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each subject."""
    parser.description = (
        "Measure on this machine how fast PyConv is: ratios of times that were measured in turn in one process, "
        "median and quartiles, with machine, versions and chosen backend. Run nothing else meanwhile."
    )
    parser.epilog = "nnunet_pyconv benchmark SUBJECT -h tells more."
    add_commands(parser, "subjects", SUBJECTS, __name__)
