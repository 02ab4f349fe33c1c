"""Time a PyConv layer in each backend, and the other blocks, against a dense 3 x 3 convolution of the same width."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from nnunet_pyconv.benchmarks.memory import megabytes, peak_growth_bytes
from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import ratios, time_in_turn
from nnunet_pyconv.nn import Block, PyConv2d, PyConv3d, PyConvSeparable, Pyramid
from nnunet_pyconv.nn.backends import use_backend
from nnunet_pyconv.nn.blocks import default_pyramid

DENSE = ("dense", "dense channels_last")
BESIDE: tuple[Block, ...] = ("dilated", "separable")
"""The blocks that are measured in the backend that they choose."""
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LayerCase:
    """A layer and its input: batch, channels in and out, edge of the map in pixels, 2 or 3 axes, kernels."""

    batch: int
    channels: int
    edge: int
    dim: int = 2
    kernel_sizes: tuple[int, ...] = (3, 5, 7, 9)
    stride: int = 1

    def __str__(self) -> str:
        size = "x".join([str(self.edge)] * self.dim)
        return f"{self.batch} x {self.channels} x {size}" + (f", stride {self.stride}" if self.stride > 1 else "")


CASES = (
    LayerCase(2, 32, 256),
    LayerCase(2, 64, 128),
    LayerCase(2, 128, 64),
    LayerCase(4, 256, 32),
    LayerCase(4, 512, 16),
)
MORE_CASES = (
    LayerCase(2, 32, 256, stride=2),
    LayerCase(2, 64, 128, stride=2),
    LayerCase(2, 128, 64, stride=2),
    LayerCase(4, 256, 32, stride=2),
    LayerCase(1, 32, 64, dim=3, kernel_sizes=(3, 5, 7)),
    LayerCase(1, 64, 32, dim=3, kernel_sizes=(3, 5, 7)),
    LayerCase(2, 128, 16, dim=3, kernel_sizes=(3, 5, 7)),
    LayerCase(12, 128, 20),
    LayerCase(12, 128, 10),
    LayerCase(2, 128, 8, dim=3, kernel_sizes=(3, 5, 7)),
    LayerCase(2, 320, 8, dim=3, kernel_sizes=(3, 5, 7)),
)


@dataclass(frozen=True)
class LayerCall:
    """A layer, its input, and the setting of `nn.backends.use_backend` that it is computed with."""

    setting: str
    layer: nn.Module
    x: torch.Tensor

    def infer(self) -> torch.Tensor:
        """Compute the output, under autocast where the input has half precision."""
        return self._forward(self.x)

    def train(self) -> None:
        """Compute the output and the gradients of the input and the weights, as in the middle of a network."""
        self.layer.zero_grad(set_to_none=True)
        y = self._forward(self.x.detach().requires_grad_())
        y.backward(torch.ones_like(y))  # type: ignore[no-untyped-call]

    def chosen(self) -> str:
        """Tell which backend a PyConv layer would choose for its input.

        Raises:
            ValueError: A backend was forced that can't run here.
        """
        assert isinstance(self.layer, (PyConv2d, PyConv3d))
        with self._conditions():
            return self.layer.backend_for(self.x)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        with self._conditions():
            return self.layer(x)

    @contextlib.contextmanager
    def _conditions(self) -> Iterator[None]:
        half = self.x.dtype != torch.float32
        with use_backend(self.setting), torch.autocast(self.x.device.type, self.x.dtype, enabled=half):
            yield


def layer_calls(
    case: LayerCase, backends: Sequence[str], device: torch.device, dtype: torch.dtype
) -> dict[str, LayerCall]:
    """Build the dense convolution in both memory formats, the blocks, and PyConv in the backends that can run.

    Args:
        case: The layer and its input.
        backends: Settings of `nn.backends.use_backend`.
        device: Where to.
        dtype: Of the input; the weights have float32, as under autocast.

    Returns:
        The calls under the names that the tables have; on a GPU all in both memory formats.
    """
    conv, pyconv = (nn.Conv2d, PyConv2d) if case.dim == 2 else (nn.Conv3d, PyConv3d)
    channels_last = torch.channels_last if case.dim == 2 else torch.channels_last_3d
    x = torch.randn(case.batch, case.channels, *[case.edge] * case.dim, device=device, dtype=dtype)
    layer = pyconv(case.channels, case.channels, Pyramid(case.kernel_sizes), stride=case.stride).to(device)
    blocks = {name: _block(case, name) for name in BESIDE}
    result: dict[str, LayerCall] = {}
    for suffix, memory_format in (("", torch.contiguous_format), (" channels_last", channels_last)):
        y = x.contiguous(memory_format=memory_format)
        dense = conv(case.channels, case.channels, 3, padding=1, stride=case.stride, bias=False)
        result[f"dense{suffix}"] = LayerCall("auto", dense.to(device).to(memory_format=memory_format), y)
        if not suffix or device.type == "cuda":
            candidates = {f"{setting}{suffix}": LayerCall(setting, layer, y) for setting in backends}
            result |= {name: call for name, call in candidates.items() if _runs(call)}
            result |= {f"{name}{suffix}": LayerCall("auto", block.to(device), y) for name, block in blocks.items()}
    return result


PARTS: dict[str, Callable[[LayerCall], object]] = {
    "Inference": torch.no_grad()(LayerCall.infer),
    "Forward + backward": LayerCall.train,
}


def benchmark_layer(
    cases: Sequence[LayerCase], backends: Sequence[str], rounds: int, device: torch.device, dtypes: Sequence[str]
) -> list[Measurements]:
    """Measure inference and forward + backward of each case.

    Args:
        cases: What to measure.
        backends: Settings of `nn.backends.use_backend`; those that can't run a case are left out there.
        rounds: Counted calls of each function; the results are medians.
        device: Where to measure.
        dtypes: Keys of `DTYPES`; half precision is measured under autocast.

    Returns:
        For each dtype a table of each part: ratios to the dense convolution in its best memory format, what "auto" was,
        and on a GPU the peak of what a call allocates.
    """
    tables = []
    for dtype in dtypes:
        rows: dict[str, list[dict[str, Value]]] = {part: [] for part in PARTS}
        for case in cases:
            built = layer_calls(case, backends, device, DTYPES[dtype])
            for part, step in PARTS.items():
                rows[part].append(_row(case, built, part, step, rounds, device))
        tables += [
            Measurements(f"{part}, {dtype}, time / time of the dense convolution, median (quartiles)", rows[part])
            for part in PARTS
        ]
    return tables


def _row(
    case: LayerCase,
    built: dict[str, LayerCall],
    part: str,
    step: Callable[[LayerCall], object],
    rounds: int,
    device: torch.device,
) -> dict[str, Value]:
    calls = {name: partial(step, call) for name, call in built.items()}
    measured = ratios(time_in_turn(calls, rounds, device, f"{part} {case}"), DENSE)
    row: dict[str, Value] = {"N x C x size": str(case), "dense, ms": min(measured[name].time_ms for name in DENSE)}
    row |= {name: ratio for name, ratio in measured.items() if name not in DENSE}
    if "auto" in built:
        row["auto is"] = built["auto"].chosen()
    if device.type == "cuda":
        peaks = {name: peak_growth_bytes(calls[name], device) for name in ("dense", "auto") if name in calls}
        row |= {f"{name}, MB": megabytes(peak) for name, peak in peaks.items()}
    return row


def _block(case: LayerCase, block: Block) -> nn.Module:
    """Build a block of the case's channels, with the levels that fit its map."""
    pyconv = PyConv2d if case.dim == 2 else PyConv3d
    pyramid = default_pyramid(block).fitted([case.edge] * case.dim)
    layer = pyconv(case.channels, case.channels, pyramid, stride=case.stride)
    return PyConvSeparable(layer, case.channels, bias=False) if block == "separable" else layer


def _runs(call: LayerCall) -> bool:
    try:
        call.chosen()
    except ValueError:  # this backend was forced and can't run here
        return False
    return True
