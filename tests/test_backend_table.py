"""The table of choices on a GPU: here for a CPU that passes for one, with times that the tests give."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from conftest import NnunetFolders
from plans_of_nnunet import DATASET_JSON, make_plans
from torch import nn
from trainers_of_nnunet import make_trainer

from nnunet_pyconv import doctor
from nnunet_pyconv.nn import DEPTHWISE, DILATED, PyConv2d, Pyramid
from nnunet_pyconv.nn.ahead import Use, choose_ahead, describe_choices
from nnunet_pyconv.nn.backends import choice, dispatch, use_backend
from nnunet_pyconv.nn.backends.reference import convolve_levels
from nnunet_pyconv.nn.backends.spec import levels_of
from nnunet_pyconv.nn.backends.table import Machine, Question, Table, read, table_of
from nnunet_pyconv.nn.backends.triton import autotune

CPU = torch.device("cpu")


@torch.library.custom_op(
    "nnunet_pyconv_tests::doubled",
    mutates_args=(),
    schema="(Tensor x, Tensor[] weights, Tensor[] biases, int[] groups, int[] stride, int[] geometry=[]) -> Tensor",
)
def doubled(x: Any, weights: Any, biases: Any, groups: Any, stride: Any, geometry: Any = ()) -> torch.Tensor:
    """Stands for the Triton kernels, and shows that it ran: twice the reference."""
    return 2 * convolve_levels(x, weights, levels_of(weights, groups, geometry), stride)


@doubled.register_fake
def _(x: Any, weights: Any, biases: Any, groups: Any, stride: Any, geometry: Any = ()) -> torch.Tensor:
    return x.new_empty((x.shape[0], sum(w.shape[0] for w in weights), *x.shape[2:]))


def pretend(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Let the CPU pass for a GPU whose Triton kernels are faster on inputs of more than one image."""
    monkeypatch.setenv("NNUNET_PYCONV_CACHE", str(cache))
    monkeypatch.setattr(choice, "_is_gpu", lambda device: True)
    monkeypatch.setattr(choice, "_triton_refusal", lambda work: None)
    monkeypatch.setattr(dispatch, "triton_levels", doubled)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    table_of.cache_clear()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Any]]:
    """A machine that measures; gives the workloads that were measured."""
    pretend(monkeypatch, tmp_path)
    works: list[Any] = []

    def measure(work: Any, trained: bool) -> str:
        works.append((work, trained))
        return "triton" if work.x_size[0] > 1 else "reference"

    monkeypatch.setattr(autotune, "_measure", measure)
    yield works
    table_of.cache_clear()


def as_of_a_new_process() -> Table:
    table_of.cache_clear()
    return table_of(CPU)


def question(layer: PyConv2d, x: torch.Tensor, trained: bool = False) -> Question:
    work = layer.workload(x)
    assert work is not None
    return Question.of(work, trained)


def test_kept_on_disk(measured: list[Any]) -> None:
    layer, x = PyConv2d(8, 8), torch.randn(2, 8, 16, 16)
    with torch.no_grad():
        assert layer.backend_for(x) == "triton"
        assert layer.backend_for(x[:1]) == "reference"
    kept = dict(table_of(CPU).choices)
    assert as_of_a_new_process().choices == kept == {question(layer, x): "triton", question(layer, x[:1]): "reference"}
    with torch.no_grad():
        assert layer.backend_for(x) == "triton"
    assert len(measured) == 2


def damaged(content: dict[str, Any]) -> dict[str, str]:
    first, *_ = content["choices"]
    other_machine = {**content, "machine": {**content["machine"], "gpu": "another"}}
    return {
        "cut off": json.dumps(content)[:-9],
        "empty": "",
        "a list": "[]",
        "no machine": json.dumps({"choices": content["choices"]}),
        "of another machine": json.dumps(other_machine),
        "unknown choice": json.dumps({**content, "choices": [{**first, "choice": "magic"}]}),
        "levels of another form": json.dumps({**content, "choices": [{**first, "levels": [3, 5]}]}),
        "sizes of another form": json.dumps({**content, "choices": [{**first, "x_size": [[{}]]}]}),
        "not UTF-8": "\udcff",
    }


@pytest.mark.parametrize("how", damaged({"machine": {}, "choices": [{}]}))
def test_a_damaged_or_foreign_file_is_ignored_and_replaced(how: str, measured: list[Any]) -> None:
    layer, x = PyConv2d(8, 8), torch.randn(2, 8, 16, 16)
    layer.backend_for(x)
    file = table_of(CPU).file
    assert file is not None
    file.write_text(damaged(json.loads(file.read_text()))[how], errors="surrogateescape")
    assert not as_of_a_new_process().choices
    layer.backend_for(x)
    assert len(measured) == 2
    assert len(as_of_a_new_process().choices) == 1


@pytest.mark.skipif(os.name == "nt", reason="no owners of files")
def test_a_file_that_others_may_write_is_ignored(measured: list[Any]) -> None:
    layer = PyConv2d(8, 8)
    layer.backend_for(torch.randn(2, 8, 16, 16))
    file = table_of(CPU).file
    assert file is not None
    assert read(file, Machine.of(CPU))
    file.chmod(0o666)
    assert not as_of_a_new_process().choices
    file.chmod(0o600)
    file.rename(file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))
    assert not as_of_a_new_process().choices


def test_without_a_cache_folder(measured: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NNUNET_PYCONV_CACHE", str(tmp_path / "file"))
    layer, x = PyConv2d(8, 8), torch.randn(2, 8, 16, 16)
    assert layer.backend_for(x) == layer.backend_for(x) == "triton"
    assert len(measured) == 1
    assert table_of(CPU).file is None


def test_two_processes_keep_the_choices_of_both(measured: list[Any]) -> None:
    layer, x = PyConv2d(8, 8), torch.randn(2, 8, 16, 16)
    one, other = Table(Machine.of(CPU)), Table(Machine.of(CPU))
    one.add({question(layer, x): "triton"})
    other.add({question(layer, x, trained=True): "reference"})
    assert len(as_of_a_new_process().choices) == 2


class Counting:
    """A backend of torch.compile that counts graphs and runs them as they are."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, example_inputs: list[Any]) -> Any:
        self.graphs.append(graph)
        return graph.forward


@pytest.mark.slow
@pytest.mark.parametrize("pyramid", [Pyramid(), DILATED, DEPTHWISE], ids=["plain", "dilated", "depthwise"])
def test_a_compiled_layer_takes_what_the_table_says(pyramid: Pyramid, measured: list[Any]) -> None:
    torch._dynamo.reset()
    layer, x = PyConv2d(8, 8, pyramid), torch.randn(2, 8, 16, 16)
    with use_backend("reference"), torch.no_grad():
        expected = layer(x)
    table_of(CPU).add({question(layer, x): "triton"})
    counting = Counting()
    compiled = torch.compile(layer, backend=counting, fullgraph=True)
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(compiled(x), 2 * expected)
    assert len(counting.graphs) == 1
    torch.testing.assert_close(compiled(x), expected)  # trained, of which the table has no entry
    with torch.no_grad():
        for batch in (1, 3, 4):  # a new size at each step becomes a symbol
            again = torch.cat([x, x])[:batch]
            torch.testing.assert_close(compiled(again), torch.cat([expected, expected])[:batch])
        torch.testing.assert_close(compiled(x), 2 * expected)
    assert not measured


@pytest.mark.parametrize("forced", ["reference", "fold"])
def test_a_forced_backend_is_taken_when_compiled(forced: str, measured: list[Any]) -> None:
    torch._dynamo.reset()
    layer, x = PyConv2d(8, 8), torch.randn(2, 8, 16, 16)
    table_of(CPU).add({question(layer, x): "triton"})
    with use_backend(forced), torch.no_grad():
        torch.testing.assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), layer(x))


def network() -> nn.Sequential:
    """Two layers alike, one of another shape, and what has a state or draws random numbers."""
    return nn.Sequential(PyConv2d(8, 8), nn.BatchNorm2d(8), nn.Dropout(0.5), PyConv2d(8, 8), PyConv2d(8, 16))


USES = (Use((2, 8, 16, 16), trained=True), Use((2, 8, 16, 16), trained=False), Use((1, 8, 16, 16), trained=False))


def test_choosing_ahead(measured: list[Any]) -> None:
    net = network()
    net[1].eval()
    state, random = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    choices = choose_ahead(net, USES, CPU)
    assert len(measured) == len(choices) == 6  # two shapes of layers in three uses
    assert [module.training for module in net] == [True, False, True, True, True]
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert "triton for 4, reference for 2 (kept in " in describe_choices(choices, CPU)
    torch._dynamo.reset()
    counting = Counting()
    torch.compile(net, backend=counting, fullgraph=True)(torch.randn(2, 8, 16, 16))
    assert (
        sum(node.target is torch.ops.nnunet_pyconv_tests.doubled.default for node in counting.graphs[0].graph.nodes)
        == 3
    )
    assert len(measured) == 6


def test_nothing_is_chosen_where_the_rule_is_fixed(measured: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with use_backend("reference"):
        assert not choose_ahead(network(), USES, CPU)
    assert not choose_ahead(nn.Conv2d(8, 8, 3), USES, CPU)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    assert not choose_ahead(network(), USES, CPU)
    layer, x = PyConv2d(8, 8), torch.randn(2, 8, 16, 16)
    table_of(CPU).add({question(layer, x): "triton"})
    with torch.no_grad():
        assert layer.backend_for(x) == "native" or layer.backend_for(x) in ("fold", "reference")
    assert not measured


def test_a_trainer_chooses_before_its_network_is_traced(
    measured: list[Any], nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "nnunetv2.training.nnUNetTrainer.nnUNetTrainer"
    monkeypatch.setattr(f"{module}.infer_dataset_class", lambda _: None)
    monkeypatch.setattr(f"{module}.nnUNetTrainer._do_i_compile", lambda self: True)
    plans = make_plans()
    batch = plans["configurations"]["2d"]["batch_size"]
    trainer = make_trainer(plans, "2d", DATASET_JSON)
    assert {(work.x_size[0], trained) for work, trained in measured} == {(batch, True), (batch, False), (1, False)}
    assert trainer.network.training
    (line,) = [line for line in Path(trainer.log_file).read_text().splitlines() if "PyConv backends" in line]
    table = table_of(CPU)
    chosen = list(table.choices.values())
    assert f"triton for {chosen.count('triton')}, reference for {chosen.count('reference')}" in line
    assert str(table.file) in line


def test_doctor_tells_of_the_choices(measured: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    PyConv2d(8, 8).backend_for(torch.randn(2, 8, 16, 16))
    monkeypatch.setattr(doctor, "table_of", lambda device: table_of(CPU))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (finding,) = doctor._choices()
    assert finding.state == f"1 for cpu and these versions; in {table_of(CPU).file}"
    assert finding.fix is None


def rank(index: int, port: int, folder: Path) -> None:
    """Each rank would choose otherwise, and has a cache of its own."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=index, world_size=2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        pretend(monkeypatch, folder / str(index))
        monkeypatch.setattr(autotune, "_measure", lambda work, trained: "reference" if index else "triton")
        choose_ahead(network(), USES, CPU)
        choices = list(table_of(CPU).choices.values())
    (folder / f"{index}.json").write_text(json.dumps(choices))
    dist.destroy_process_group()


@pytest.mark.slow  # each process imports torch
def test_ranks_take_what_the_first_measured(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(rank, (port, tmp_path), nprocs=2)
    assert [json.loads((tmp_path / f"{index}.json").read_text()) for index in range(2)] == [["triton"] * 6] * 2
