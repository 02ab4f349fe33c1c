"""Measure the network of each design: an inference in PyTorch, ONNX Runtime and OpenVINO, and a training step."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn
from tqdm import tqdm

from nnunet_pyconv.benchmarks.candidates import Candidate, PreparedTraining, convolution_gmac, peak_of_step
from nnunet_pyconv.benchmarks.designs.design import ComparedDesign
from nnunet_pyconv.benchmarks.plans import BenchmarkPlans, plan
from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import ratios, time_in_turn
from nnunet_pyconv.extras import ONNX_MODULES, require_extra
from nnunet_pyconv.planning import Design

if TYPE_CHECKING:
    import openvino

STOCK = ComparedDesign(Design("stock"))
TRAINED = Candidate(nnUNetTrainer)  # builds the network that the plans name
CPU = torch.device("cpu")
Function = Callable[[], object]


def benchmark_runtimes(
    patch_size: Sequence[int], designs: Sequence[ComparedDesign], threads: int, rounds: int
) -> list[Measurements]:
    """Measure a training step, and an inference of one patch in each runtime, on a CPU.

    Args:
        patch_size: In pixels, two or three axes; the network is nnU-Net's default one for it.
        designs: What becomes of the network; the stock one is always measured.
        threads: Of each runtime.
        rounds: Counted calls of each function; the results are medians.

    Returns:
        A table with a row for each design: parameters, multiplications, nnU-Net's training step of two patches and
        its peak memory as multiples of the stock network's, and an inference's time / time of the stock network in the
        same runtime.
    """
    require_extra("onnx", *ONNX_MODULES, "openvino")
    networks = {design.name: designed_network(patch_size, design) for design in (STOCK, *designs)}
    x = torch.randn(1, 1, *patch_size)
    rows: dict[str, dict[str, Value]] = {
        name: {"design": name, "parameters, M": sum(p.numel() for p in network.parameters()) / 1e6}
        for name, network in networks.items()
    }
    for name, network in networks.items():
        rows[name]["GMac"] = convolution_gmac(network, x)
    torch.set_num_threads(threads)
    for name, costs in _training_costs(patch_size, (STOCK, *designs), rounds).items():
        rows[name] |= costs
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in networks}
        for name, network in networks.items():
            _export(network, x, files[name])
        for runtime, prepare in (("PyTorch", None), ("ONNX Runtime", _onnx_runtime), ("OpenVINO", _openvino)):
            functions = {
                name: _pytorch(network, x) if prepare is None else prepare(files[name], x, threads)
                for name, network in networks.items()
            }
            measured = ratios(time_in_turn(functions, rounds, CPU, runtime), [STOCK.name])
            for name, ratio in measured.items():
                rows[name][f"{runtime}, ms"] = ratio.time_ms
                rows[name][f"{runtime} / stock"] = ratio
    patch = " x ".join(map(str, patch_size))
    title = (
        f"A training step of two patches of {patch}, an inference of one; {threads} thread{'s' * (threads > 1)}; "
        "ratios to the stock network in the same runtime, median (quartiles)"
    )
    return [Measurements(title, list(rows.values()))]


def _training_costs(
    patch_size: Sequence[int], designs: Sequence[ComparedDesign], rounds: int
) -> dict[str, dict[str, Value]]:
    planned = {design.name: _planned(patch_size, design) for design in designs}
    trainings = {name: PreparedTraining(TRAINED, each, CPU) for name, each in planned.items()}
    steps = time_in_turn({name: each.train for name, each in trainings.items()}, rounds, CPU, "training step")
    del trainings  # their memory
    peaks = {name: peak_of_step(TRAINED, each, CPU) for name, each in tqdm(planned.items(), "peak memory", leave=False)}
    of_stock = peaks[STOCK.name]
    return {
        name: {
            "training step, ms": ratio.time_ms,
            "step / stock": ratio,
            "peak memory, MB": peaks[name],
            "peak / stock": (peaks[name] or 0.0) / of_stock if of_stock else None,
        }
        for name, ratio in ratios(steps, [STOCK.name]).items()
    }


def _planned(patch_size: Sequence[int], design: ComparedDesign) -> BenchmarkPlans:
    planned = plan(patch_size)
    planned.plans["configurations"][planned.configuration]["architecture"] = design.architecture(patch_size)
    return planned


def designed_network(patch_size: Sequence[int], design: ComparedDesign) -> nn.Module:
    """Build what becomes of nnU-Net's network for a patch: one channel in, two labels out, not trained."""
    architecture = design.architecture(patch_size)
    network: nn.Module = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        2,
        deep_supervision=False,
    )
    return network.eval()


def _export(network: nn.Module, x: torch.Tensor, file: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):  # the exporter prints
        torch.onnx.export(network, (x,), str(file), dynamo=True, external_data=False)


def _pytorch(network: nn.Module, x: torch.Tensor) -> Function:
    def run() -> object:
        with torch.inference_mode():
            return network(x)

    return run


def _onnx_runtime(file: Path, x: torch.Tensor, threads: int) -> Function:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, feed)


def _openvino(file: Path, x: torch.Tensor, threads: int) -> Function:
    # single precision, as the others compute; on some processors the default is half precision
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = _openvino_core().compile_model(str(file), "CPU", settings)
    return lambda: compiled([x.numpy()])


@functools.cache
def _openvino_core() -> openvino.Core:
    """Return the one core of this process.

    Each core's CPU plugin gives the thread a stack for signals, and puts back, when it goes, the one that it found. Of
    two plugins that is the other's, which may be gone, and the next signal, an interrupt for one, ends the process.
    """
    os.environ.setdefault("OPENVINO_TELEMETRY_OPT_OUT", "1")
    import openvino

    return openvino.Core()
