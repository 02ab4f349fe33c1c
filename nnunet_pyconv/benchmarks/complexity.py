"""What a network costs: parameters, operations, latency and memory (the paper's Table 3, and what it leaves out)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from tqdm import tqdm

from nnunet_pyconv.benchmarks.memory import in_fresh_process, peak_growth_bytes
from nnunet_pyconv.benchmarks.timing import quartiles, time_in_turn
from nnunet_pyconv.paper import Cost


@dataclass(frozen=True)
class Subject:
    """A network to measure.

    Attributes:
        name: Its name in the table.
        build: Builds it; picklable, since a process of its own measures the memory.
        input_shape: `(C, [Z,] Y, X)`.
        paper_cost: What the paper's Table 3 prints for it; None if nothing.
        note: A footnote; empty for none.
    """

    name: str
    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    paper_cost: Cost | None = None
    note: str = ""


@dataclass(frozen=True)
class Complexity:
    """What a network costs, for one image.

    Attributes:
        subject: The network.
        parameters: Number of parameters.
        gmac: Billions of multiply-accumulates, see `count_gmac`.
        latency_ms: Median time of a forward pass.
        latency_low_ms: Lower quartile.
        latency_high_ms: Upper quartile.
        inference_mib: Peak memory of a forward pass, weights included; None where it can't be measured.
        training_mib: Peak memory of a training step with Adam, likewise.
    """

    subject: Subject
    parameters: int
    gmac: float
    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    inference_mib: float | None
    training_mib: float | None


def measure(subjects: Sequence[Subject], device: torch.device, rounds: int = 10) -> list[Complexity]:
    """Measure networks against each other, on one image each.

    Args:
        subjects: The networks.
        device: Where to time them and to measure their memory.
        rounds: How often to time each, at least 1.

    Returns:
        One entry a network, in their order.
    """
    counts = []
    memory = []
    for subject in tqdm(subjects, desc="operations and memory", unit="network"):
        network = subject.build()
        counts.append((sum(p.numel() for p in network.parameters()), count_gmac(network, subject.input_shape)))
        del network
        memory.append(peak_memory_mib(subject, device))
    times = time_in_turn(_forward_passes(subjects, device), rounds, device, "latency")
    complexities = []
    for subject, (parameters, gmac), (inference, training) in zip(subjects, counts, memory, strict=True):
        low, median, high = quartiles(times[subject.name])
        complexities.append(Complexity(subject, parameters, gmac, median, low, high, inference, training))
    return complexities


def count_gmac(network: nn.Module, input_shape: tuple[int, ...]) -> float:
    """Count the multiply-accumulates of one forward pass, in billions, as the paper did, with ptflops.

    Counted are modules: convolutions and transposed convolutions with their bias, and one or two operations an element
    for normalisation, activation, pooling and upsampling. Concatenation, the addition of skips and padding, which are
    no modules, are not. So counted, the paper's figures come out to 0.1 %.

    Args:
        network: The network; it is put into evaluation mode.
        input_shape: `(C, [Z,] Y, X)`.

    Returns:
        Billions of multiply-accumulates.

    Raises:
        RuntimeError: The network fails on such an input.
    """
    from ptflops import get_model_complexity_info

    operations, _ = get_model_complexity_info(
        _LeavesOnce(network),
        input_shape,
        print_per_layer_stat=False,
        as_strings=False,
        backend="pytorch",
        backend_specific_config={"count_functional": False},
    )
    if operations is None:
        raise RuntimeError(f"{type(network).__name__} fails on an input of {input_shape}, see above")
    return operations / 1e9


class _LeavesOnce(nn.Module):
    """A network as ptflops should see it: nnU-Net's name some modules twice, and it would count them twice."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.leaves = nn.ModuleList(module for module in network.modules() if not list(module.children()))
        self.run = network.eval().forward

    def forward(self, x: torch.Tensor) -> object:
        return self.run(x)


def peak_memory_mib(subject: Subject, device: torch.device) -> tuple[float | None, float | None]:
    """Measure the peak memory of inference and of a training step, weights included, in a process of its own.

    Args:
        subject: The network.
        device: Where it runs.

    Returns:
        MiB for inference and for training; None where it can't be measured, see `memory.peak_growth_bytes`.
    """
    inference, training = in_fresh_process(partial(_peaks, subject, device))
    return _mib(inference), _mib(training)


def _mib(size: int | None) -> float | None:
    return None if size is None else size / 2**20


def _peaks(subject: Subject, device: torch.device) -> tuple[int | None, int | None]:
    warm_up = nn.Conv2d(1, 1, 3).to(device)  # what the library allocates once is not the network's
    warm_up(torch.zeros(1, 1, 8, 8, device=device)).sum().backward()
    torch.optim.Adam(warm_up.parameters()).step()
    infer, train = partial(_infer, subject, device), partial(_train_two_steps, subject, device)
    return peak_growth_bytes(infer, device), peak_growth_bytes(train, device)


def _infer(subject: Subject, device: torch.device) -> None:
    network = subject.build().eval().to(device)
    with torch.inference_mode():
        network(torch.zeros(1, *subject.input_shape, device=device))


def _train_two_steps(subject: Subject, device: torch.device) -> None:
    network = subject.build().train().to(device)
    x = torch.zeros(1, *subject.input_shape, device=device)
    optimizer = torch.optim.Adam(network.parameters())
    for _ in range(2):  # only the second step has the optimiser's state from its beginning
        outputs = network(x)
        loss = torch.stack([each.mean() for each in (outputs if isinstance(outputs, list) else [outputs])]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _forward_passes(subjects: Sequence[Subject], device: torch.device) -> dict[str, Callable[[], object]]:
    def forward_pass(subject: Subject) -> Callable[[], object]:
        network = subject.build().eval().to(device)
        x = torch.zeros(1, *subject.input_shape, device=device)

        def run() -> None:
            with torch.inference_mode():
                network(x)
            if device.type == "mps":
                torch.mps.synchronize()

        return run

    return {subject.name: forward_pass(subject) for subject in subjects}
