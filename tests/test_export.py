"""Exporting models that nnU-Net's own code made."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NnunetFolders
from made_models import Made, Recipe, make_model, preprocess
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from onnx import TensorProto, helper, numpy_helper
from runtime_models import THRESHOLD, threshold_network
from torch import nn

from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.export import export, export_model, quantization
from nnunet_pyconv.export.model_card import model_card_of
from nnunet_pyconv.export.onnx_network import difference_from_torch
from nnunet_pyconv.export.precision import with_8_bit_weights
from nnunet_pyconv.export.training_cases import TrainingCases
from nnunet_pyconv.nn import PyConv2d, Pyramid
from nnunet_pyconv.runtime.model_file import ModelFile
from nnunet_pyconv.runtime.network import OnnxNetwork
from nnunet_pyconv.runtime.predictor import Predictor
from nnunet_pyconv.runtime.readers import reader_named
from nnunet_pyconv.sharing.model_card import ModelFacts

NAME = "Dataset001_Grey"


@pytest.fixture(scope="module")
def made(module_folders: NnunetFolders) -> Made:
    model = make_model(Recipe((70, 90), channels=("EM",), file_ending=".png"), module_folders, NAME)["2d"]
    preprocess(module_folders, NAME, model)
    return model


@pytest.fixture(scope="module")
def float_labels(made: Made, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return labels_of(export_model(made.folder, tmp_path_factory.mktemp("fp32") / "model.pyz").file, made)


def labels_of(model: Path, made: Made) -> np.ndarray:
    predictor = Predictor(model)
    image = reader_named("NaturalImage2DIO", ".png").read([Path(file) for file in made.cases()[0]])
    data, geometry = predictor.prepare(image.array, image.spacing)
    return predictor.labels(predictor.logits(data), geometry)


@pytest.mark.slow
def test_half_weights(made: Made, float_labels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for precision in ("fp32", "fp16"):
        main(["export", str(made.folder), "--precision", precision, "-o", str(tmp_path / f"{precision}.pyz")])
    whole, half = (network_bytes(tmp_path / f"{precision}.pyz") for precision in ("fp32", "fp16"))
    assert half < 0.8 * whole  # biases, norms and names stay as they are
    assert (labels_of(tmp_path / "fp16.pyz", made) == float_labels).mean() > 0.99
    assert "fp16" in capsys.readouterr().out


def network_bytes(model: Path) -> int:
    file = ModelFile.open(model)
    return sum(len(file.network(network.file)) for network in file.description.networks)


@pytest.mark.slow
def test_8_bit(
    made: Made, float_labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(quantization, "DICE_LIMIT", 0.02)  # the model is hardly trained
    monkeypatch.setattr(export, "DICE_LIMIT", 0.02)
    exported = export_model(made.folder, tmp_path / "model.pyz", precision="int8")
    (result,) = exported.quantized.values()
    assert result.loss <= 0.02
    assert result.in_float < result.convolutions
    assert (labels_of(exported.file, made) == float_labels).mean() > 0.9
    assert f"| {result.dice_float:.4f} | {result.dice:.4f} |" in ModelFile.open(exported.file).model_card

    monkeypatch.setattr(export, "DICE_LIMIT", -1.0)
    with pytest.raises(InputError, match=r"--precision fp16, or write it anyway with --force"):
        export_model(made.folder, tmp_path / "worse.pyz", precision="int8")
    assert not (tmp_path / "worse.pyz").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_precisions_are_compared(made: Made, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(["benchmark", "precisions", str(made.folder), "--rounds", "1", "-device", "cpu", "-o", str(tmp_path)])
    (table,) = json.loads((tmp_path / "precisions.json").read_text())["tables"]
    whole, half, _ = table["rows"]
    assert [row["precision"] for row in table["rows"]] == ["fp32", "fp16", "int8"]
    assert whole["file, MB"] > half["file, MB"]
    assert whole["slice / fp32"]["ratio"] == whole["file / fp32"] == 1
    assert 0.98 * float(whole["Dice"]) <= float(half["Dice"]) <= 1
    if sys.platform == "linux":
        assert all(row["peak memory, MB"] > 30 for row in table["rows"])  # more than Python alone


@pytest.mark.long
def test_cold_starts_are_compared(made: Made, tmp_path: Path) -> None:
    arguments = [str(made.folder), "-i", str(made.images), "--rounds", "1", "-device", "cpu", "-o", str(tmp_path)]
    main(["benchmark", "cold_start", *arguments])
    (table,) = json.loads((tmp_path / "cold_start.json").read_text())["tables"]
    (row,) = table["rows"]
    assert row["nnUNetv2_predict / model file"]["ratio"] == pytest.approx(
        row["nnUNetv2_predict, s"] / row["model file, s"]
    )


def test_grouped_weights_in_8_bit() -> None:
    """The largest weight of a channel is 127 steps, and the network computes with whole steps."""
    weight = np.zeros((4, 2, 3, 3), np.float32)
    weight[0, 1, 1, 1], weight[1, 0, 1, 1], weight[3, 0, 1, 1], weight[3, 1, 1, 1] = 127, -12.7, 1.27, 0.014
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], ["logits"], group=2, pads=[1] * 4)],
        "grouped",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4, 5, 5])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4, 5, 5])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with_8_bit_weights(model, ["weight"])
    assert [numpy_helper.to_array(tensor).dtype for tensor in model.graph.initializer] == [np.int8, np.float32]
    image = np.random.default_rng(0).normal(size=(1, 4, 5, 5)).astype(np.float32)
    expected = np.stack(
        [127 * image[0, 1], -12.7 * image[0, 0], 0 * image[0, 0], 1.27 * image[0, 2] + 0.01 * image[0, 3]]
    )
    found = OnnxNetwork(model.SerializeToString(), "cpu", "grouped")(image)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_difference_is_that_of_the_logits() -> None:
    """A convolution and its ONNX file; then one weight differs, so that the logit of the brightest pixel does."""
    network = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        network.weight[:] = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
        network.bias[:] = torch.tensor([0.0, -THRESHOLD])
        content = threshold_network().SerializeToString()
        assert difference_from_torch(network, content, 1, (8, 8)) < 1e-6
        network.bias[1] = 1.25 * -THRESHOLD
    # the logits are about -125 and, in the file, -100; those of the patch's normal numbers lie near to that
    assert difference_from_torch(network, content, 1, (8, 8)) == pytest.approx(0.2, abs=0.01)


def test_8_bit_need_the_training_cases(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    with pytest.raises(InputError, match="calibrated on the training cases"):
        export_model(made.folder, tmp_path / "model.pyz", precision="int8")


def preprocessed(folder: Path, made: Made, names: list[str], splits: Any) -> Path:
    """A folder of preprocessed data with so many cases, which are empty, and splits."""
    data = folder / NAME / "nnUNetPlans_2d"
    data.mkdir(parents=True)
    for name in names:
        (data / f"{name}.b2nd").touch()
        (data / f"{name}.pkl").touch()
    (folder / NAME / "splits_final.json").write_text(json.dumps(splits))
    return folder


@pytest.mark.parametrize(
    ("names", "splits", "message"),
    [
        ([], [{"train": ["a"], "val": ["b"]}], "calibrated on the training cases, and .* has none"),
        (["a"], [{"train": ["a"], "val": ["b"]}], r"has 1 cases that .* lacks \(b\); run nnUNetv2_preprocess"),
        (["a"], [], "and the model is of fold 0; add its split there, or choose fp16"),
    ],
    ids=["empty", "missing", "fold"],
)
def test_8_bit_need_all_of_the_training_cases(
    names: list[str], splits: Any, message: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed(tmp_path / "data", made, names, splits)))
    with pytest.raises(InputError, match=message):
        TrainingCases(export.open_model(made.folder, None, "checkpoint_final.pth"), "0")


def test_card_of_a_package_tells_how_to_predict_with_the_file(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / NAME / made.folder.name
    shutil.copytree(made.folder, folder)
    facts = ModelFacts(nnUNetTrainer, 1, {"0": 1})
    (folder / "MODEL_CARD.md").write_text(
        "# Mine\n\n## Install and predict\n\ninstall model.zip\n\n## Notes\n\nMine.\n"
    )
    model = export.open_model(folder, None, "checkpoint_final.pth")
    card = model_card_of(model, facts, {}, {})
    assert card.startswith("# Mine\n\n## Predict\n\nThe file holds the network")
    assert "install model.zip" not in card
    assert card.endswith("\n\n## Notes\n\nMine.\n")


@pytest.mark.slow
def test_weights_that_half_precision_cannot_hold(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / NAME / made.folder.name
    shutil.copytree(made.folder, folder)
    file = folder / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(file, weights_only=False)
    name = max(checkpoint["network_weights"], key=lambda key: checkpoint["network_weights"][key].numel())
    checkpoint["network_weights"][name] *= 1e9
    torch.save(checkpoint, file)
    with pytest.raises(InputError, match="--precision fp16: .* has values beyond those of float16; choose fp32"):
        export_model(folder, tmp_path / "model.pyz", precision="fp16")


@pytest.mark.slow
def test_refuses_operators_that_onnx_lacks(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fourier(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(self.network(x))

    whole = export.ModelFolder.build_network
    monkeypatch.setattr(export.ModelFolder, "build_network", lambda *args: Fourier(whole(*args)))
    with pytest.raises(InputError, match="bessel_j0"):
        export_model(made.folder, tmp_path / "model.pyz")
    assert not (tmp_path / "model.pyz").exists()


@pytest.mark.slow
def test_refuses_a_network_that_computes_something_else(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "difference_from_torch", lambda *args: 0.1)
    with pytest.raises(InputError, match=r"differ from torch's by 0\.1"):
        export_model(made.folder, tmp_path / "model.pyz")
    assert not (tmp_path / "model.pyz").exists()


def edited(name: str, **changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / "plans.json").read_text())
        target = content if name == "plans" else content["configurations"][name]
        target.update(changes)
        (folder / "plans.json").write_text(json.dumps(content))

    return edit


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (edited("2d", normalization_schemes=["MyNormalization"]), "normalisation MyNormalization"),
        (edited("2d", preprocessor_name="MyPreprocessor"), "preprocessor MyPreprocessor"),
        (edited("2d", resampling_fn_data="my_resampling"), "resampling function my_resampling"),
        (edited("2d", resampling_fn_data_kwargs={"separate_z_anisotropy_threshold": 5}), "with another separate_z"),
        (edited("plans", image_reader_writer="MyIO"), "reader MyIO"),
        (lambda folder: (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"no"), "is damaged or cut off"),
    ],
    ids=["normalisation", "preprocessor", "resampling", "threshold", "reader", "checkpoint"],
)  # fmt: skip
def test_refuses_models(spoil: Callable[[Path], Any], message: str, made: Made, tmp_path: Path) -> None:
    folder = tmp_path / NAME / made.folder.name
    shutil.copytree(made.folder, folder)
    spoil(folder)
    with pytest.raises(InputError, match=message):
        export_model(folder, tmp_path / "model.pyz")
    assert not (tmp_path / "model.pyz").exists()


def test_reads_what_find_best_configuration_found(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / NAME / made.folder.name
    shutil.copytree(made.folder, folder)
    found = folder / "crossval_results_folds_0"
    found.mkdir()
    name = "remove_all_but_largest_component_from_segmentation"
    steps = {
        "postprocessing_fns": [name] * 2,
        "postprocessing_kwargs": [{"labels_or_regions": [1, [2, 3]]}, {"labels_or_regions": 2}],
    }
    (found / "postprocessing.json").write_text(json.dumps(steps))
    model = export.open_model(folder, None, "checkpoint_final.pth")
    described = export.describe(model, mirror_axes=(0, 1), networks=[], precision="fp32", opset=18, versions={})
    assert described.postprocessing == ((1, 2, 3), (2,))


def test_something_has_to_be_written(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["export", str(made.folder)])
    assert raised.value.code == 2
    assert "name a file with -o" in capsys.readouterr().err


def test_replaces_no_file(made: Made, tmp_path: Path) -> None:
    (tmp_path / "model.pyz").write_bytes(b"mine")
    with pytest.raises(InputError, match="replace it with --overwrite"):
        export_model(made.folder, tmp_path / "model.pyz")
    assert (tmp_path / "model.pyz").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("kernels", "groups", "slow"), [((3, 5), (1, 4), True), ((3, 5), (8, 8), False), ((3, 3), (1, 1), False)]
)
def test_tells_what_is_slow_elsewhere(kernels: tuple[int, ...], groups: tuple[int, ...], slow: bool) -> None:
    assert export._is_slow(PyConv2d(8, 16, Pyramid(kernels, groups))) == slow
