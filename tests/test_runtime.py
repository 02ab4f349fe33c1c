"""Model files of one convolution: what they predict, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import SimpleITK as sitk  # noqa: N813  # its own habit
import skimage.io
import tifffile
from onnx import TensorProto, helper
from runtime_models import DESCRIPTION, threshold_network, write_model

from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.runtime import Predictor, command
from nnunet_pyconv.runtime.description import SCHEMA, Description, Device
from nnunet_pyconv.runtime.model_file import ModelFile
from nnunet_pyconv.runtime.network import PROVIDERS, OnnxNetwork
from nnunet_pyconv.runtime.predictor import Settings
from nnunet_pyconv.runtime.preprocessing import preprocess
from nnunet_pyconv.runtime.terminations import terminations_raised

VOLUMES: dict[str, Any] = {"file_ending": ".nii.gz", "reader": "SimpleITKIO"}


def disc(size: int = 20) -> np.ndarray:
    """An image with a disc of 200 in 50; the network finds the disc."""
    y, x = np.mgrid[:size, :size]
    return np.where((y - 7) ** 2 + (x - 11) ** 2 < 30, 200, 50).astype(np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.pyz")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "b"):
        skimage.io.imsave(folder / f"{name}_0000.png", disc(), check_contrast=False)
    return folder


@pytest.fixture
def tiffs(tmp_path: Path) -> tuple[Path, Path]:
    """A model of TIFF volumes, and a folder with one, whose spacing is not told yet."""
    images = tmp_path / "images"
    images.mkdir()
    tifffile.imwrite(images / "v_0000.tif", np.stack([disc()] * 4))
    return write_model(tmp_path / "model.pyz", file_ending=".tif", reader="Tiff3DIO"), images


def predict(model: Path, images: Path, out: Path, *flags: str) -> None:
    main(["predict", "-m", str(model), "-i", str(images), "-o", str(out), "--disable_progress_bar", *flags])


def refused(capsys: pytest.CaptureFixture[str], call: Callable[[], None]) -> str:
    """Run a command that has to end with 2 and one line; returns that."""
    with pytest.raises(SystemExit) as raised:
        call()
    assert raised.value.code == 2
    message = capsys.readouterr().err.strip()
    assert len(message.splitlines()) == 1
    return message


def test_predictor_takes_arrays(model: Path) -> None:
    predictor = Predictor(model)
    expected = disc() > 100
    np.testing.assert_array_equal(predictor(disc(), spacing=(1, 1)), expected)
    np.testing.assert_array_equal(predictor(disc()[None]), expected)
    np.testing.assert_array_equal(predictor(np.stack([disc()] * 3), spacing=(5, 1, 1)), np.stack([expected] * 3))


def test_predicts_a_folder(model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    predict(model, images, out, "--save_probabilities")
    assert "2 of 2 cases" in capsys.readouterr().out
    assert {file.name for file in out.iterdir()} == {
        "a.png", "a.npz", "a.pkl", "b.png", "b.npz", "b.pkl",
        "dataset.json", "plans.json", "predict_from_raw_data_args.json",
    }  # fmt: skip
    np.testing.assert_array_equal(skimage.io.imread(out / "a.png"), disc() > 100)
    probabilities = np.load(out / "a.npz")["probabilities"]
    assert probabilities.shape == (2, 1, 20, 20)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-6)
    assert pickle.loads((out / "a.pkl").read_bytes())["shape_before_cropping"] == (1, 20, 20)


def test_parts_and_continuation(model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(model, images, out, "-num_parts", "2", "-part_id", "1")
    assert not (out / "a.png").exists()
    (out / "b.png").write_bytes(b"kept")
    predict(model, images, out, "--continue_prediction")
    assert (out / "a.png").exists()
    assert (out / "b.png").read_bytes() == b"kept"


def test_predictions_are_not_overwritten(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    predict(model, images, out)
    (out / "b.png").write_bytes(b"mine")
    message = refused(capsys, lambda: predict(model, images, out))
    assert "--continue_prediction" in message
    assert "--overwrite" in message
    assert (out / "b.png").read_bytes() == b"mine"
    predict(model, images, out, "--overwrite")
    assert (out / "b.png").read_bytes() != b"mine"


def test_files_beside_the_labels_are_not_overwritten(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.npz").write_bytes(b"mine")
    message = refused(capsys, lambda: predict(model, images, out, "--save_probabilities"))
    assert f"{out / 'a.npz'}" in message
    assert [(file.name, file.read_bytes()) for file in out.iterdir()] == [("a.npz", b"mine")]
    predict(model, images, out)  # which writes no probabilities
    assert (out / "a.npz").read_bytes() == b"mine"


def test_spacings_of_tiffs_are_not_overwritten(tiffs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    model, images = tiffs
    (images / "v.json").write_text('{"spacing": [3, 0.5, 0.5], "microscope": "mine"}')
    assert "is the folder of the images" in refused(capsys, lambda: predict(model, images, images))
    assert "mine" in (images / "v.json").read_text()
    predict(model, images, images, "--overwrite")
    assert json.loads((images / "v.json").read_text()) == {"spacing": [3, 0.5, 0.5]}


def test_leftovers_of_a_killed_call_are_removed(model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in (".a-x7_k2bd9", ".a-of_another", ".ab-x7_k2bd9"):
        (out / name).mkdir(parents=True)
    predict(model, images, out)
    assert sorted(file.name for file in out.iterdir() if file.is_dir()) == [".a-of_another", ".ab-x7_k2bd9"]


def test_flags_that_nnunets_prediction_has_and_we_need_not(model: Path, images: Path, tmp_path: Path) -> None:
    predict(model, images, tmp_path / "out", "--verbose", "--not_on_device", "-npp", "0", "-nps", "0")
    assert (tmp_path / "out" / "a.png").exists()


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_file_is_no_folder(
    below: str, model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    assert "is a file" in refused(capsys, lambda: predict(model, images, tmp_path / "file" / below))
    assert "can't read" in refused(capsys, lambda: predict(tmp_path / "file" / "m.pyz", images, tmp_path / "out"))


def test_dataset_json_of_something_else_stays(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset.json").write_text("{}")
    assert "dataset.json" in refused(capsys, lambda: predict(model, images, tmp_path / "out"))
    assert (tmp_path / "out" / "dataset.json").read_text() == "{}"


def test_networks_are_averaged(tmp_path: Path) -> None:
    """Of thresholds 80 and 120, the mean switches at 100, where neither does."""
    model = write_model(tmp_path / "model.pyz", *(threshold_network(threshold=each) for each in (80, 120)))
    np.testing.assert_array_equal(Predictor(model)(np.full((1, 8, 8), 90)), 0)
    np.testing.assert_array_equal(Predictor(model)(np.full((1, 8, 8), 110)), 1)


def test_second_stage_of_a_cascade(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network that looks at the first stage's cells alone."""
    network = threshold_network(channels=2, threshold=0.5, channel=1)
    model = write_model(tmp_path / "model.pyz", network, previous_stage="3d_lowres")
    previous = tmp_path / "previous"
    previous.mkdir()
    cells = np.zeros((20, 20), np.uint8)
    cells[3:9, 5:17] = 1
    skimage.io.imsave(previous / "a.png", cells, check_contrast=False)
    flags = ("-prev_stage_predictions", str(previous))
    assert "b.png missing" in refused(capsys, lambda: predict(model, images, tmp_path / "out", *flags))
    skimage.io.imsave(previous / "b.png", cells[:10], check_contrast=False)
    assert "case b:" in refused(capsys, lambda: predict(model, images, tmp_path / "out", *flags))
    skimage.io.imsave(previous / "b.png", cells.T, check_contrast=False)
    predict(model, images, tmp_path / "out", "--overwrite", *flags)
    np.testing.assert_array_equal(skimage.io.imread(tmp_path / "out" / "a.png"), cells)
    np.testing.assert_array_equal(skimage.io.imread(tmp_path / "out" / "b.png"), cells.T)


def test_mirroring_and_steps(model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 x 20 pixels: 4 x 4 patches of 8 x 8 at half a distance, 3 x 3 at a whole one; each mirrored 4 times."""
    whole = OnnxNetwork.__call__
    patches: list[int] = []

    def counted(self: OnnxNetwork, batch: np.ndarray) -> np.ndarray:
        patches.append(len(batch))
        return whole(self, batch)

    monkeypatch.setattr(OnnxNetwork, "__call__", counted)
    for flags, expected in (
        ((), 4 * 4 * 4),
        (("--disable_tta",), 4 * 4),
        (("--disable_tta", "-step_size", "1"), 3 * 3),
    ):
        patches.clear()
        predict(model, images, tmp_path / "out", "--overwrite", *flags)
        assert sum(patches) == 2 * expected  # two cases
        np.testing.assert_array_equal(skimage.io.imread(tmp_path / "out" / "a.png"), disc() > 100)


def test_logits_in_a_file_are_the_same(model: Path) -> None:
    in_file = Predictor(model, Settings(in_memory_bytes=0))
    np.testing.assert_array_equal(in_file(disc()[None]), disc() > 100)


def test_postprocessing(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.pyz", postprocessing=((1,),))
    image = disc()
    image[19, 0] = 200
    assert Predictor(model)(image[None])[19, 0] == 1
    assert Predictor(model, Settings(postprocess=True))(image[None])[19, 0] == 0


def test_runs_by_itself(model: Path, images: Path, tmp_path: Path) -> None:
    """In an empty folder, with no path to this project or to torch."""
    (tmp_path / "empty").mkdir()
    blocker = tmp_path / "blocker"
    blocker.mkdir()
    for name in ("torch", "nnunetv2", "skimage", "batchgenerators", "SimpleITK"):
        (blocker / f"{name}.py").write_text("raise ImportError('not in this environment')")
    environment = {**os.environ, "PYTHONPATH": str(blocker)}

    done = subprocess.run(
        [sys.executable, str(model), "-i", str(images), "-o", str(tmp_path / "out")],
        cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(skimage.io.imread(tmp_path / "out" / "a.png"), disc() > 100)
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no closed terminals")
def test_an_ignored_signal_stays_ignored() -> None:
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminations_raised():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            with pytest.raises(SystemExit) as raised:
                signal.raise_signal(signal.SIGTERM)
            assert raised.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_command_of_the_file(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flag, text in (("--model_card", "# Tiny"), ("--help", "labels: background (0), cell (1)")):
        with pytest.raises(SystemExit, match="0"):
            command.main(str(model), [flag])
        assert text in " ".join(capsys.readouterr().out.split())
    nowhere = ["-i", str(tmp_path / "nowhere"), "-o", str(tmp_path / "out")]
    assert "is no folder" in refused(capsys, lambda: command.main(str(model), nowhere))


def test_help_imports_nothing_heavy(model: Path) -> None:
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = (
        f"import atexit, sys; atexit.register(lambda: print(sorted({{m.split('.')[0] for m in sys.modules}})))\n{code}"
    )
    out = subprocess.run(
        [sys.executable, "-c", script, str(model), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert not {"numpy", "scipy", "onnxruntime", "imageio"} & set(out.rpartition("[")[2].replace("'", "").split(", "))


def test_missing_packages_are_named(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nnunet_pyconv.runtime.readers import choice

    model = write_model(tmp_path / "model.pyz", **VOLUMES)
    present = choice.importlib.util.find_spec
    monkeypatch.setattr(
        choice.importlib.util, "find_spec", lambda name: None if name in ("nibabel", "scipy") else present(name)
    )
    assert "pip install scipy nibabel" in refused(capsys, lambda: predict(model, images, tmp_path / "out"))


# ------------------------------------------------------------------------------------------------ files of others


def rewritten(model: Path, change: Callable[[dict[str, bytes]], dict[str, bytes] | None]) -> Path:
    """The same archive with other members."""
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = change(members) or members
    with zipfile.ZipFile(model, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return model


def edited(members: dict[str, bytes], **changes: Any) -> None:
    members["model.json"] = json.dumps({**json.loads(members["model.json"]), **changes}).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: edited(m, schema=SCHEMA + 1), f"schema {SCHEMA + 1}"),
        (lambda m: edited(m, sha256={**json.loads(m["model.json"])["sha256"], "networks/fold_0.onnx": "0" * 64}),
         "was changed or damaged"),
        (lambda m: edited(m, patch_size=[8]), "damaged model.json"),
        (lambda m: edited(m, reader="os.system"), "'os.system' is unknown"),
        (lambda m: edited(m, normalization=[]), "0 normalisations for 1 channels"),
        (lambda m: m.update({"model.json": b"{"}), "damaged model.json"),
        (lambda m: m.pop("model.json") and None, "without model.json"),
        (lambda m: m.pop("networks/fold_0.onnx") and None, "lacks networks/fold_0.onnx"),
        (lambda m: m.update({"../../evil": b""}), "plain paths"),
        (lambda m: m.update({"model.json": b" " * (60 << 20)}), "would unpack"),
    ],
    ids=["schema", "hash", "patch", "reader", "normalisation", "json", "no json", "no network", "climbs", "explodes"],
)  # fmt: skip
def test_refuses_files(
    change: Any, message: str, model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten(model, change)
    assert message in refused(capsys, lambda: predict(model, images, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_refuses_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "text.pyz").write_text("hello")
    for file, message in (("text.pyz", "is no model file"), ("none.pyz", "there is no file"), (".", "can't read")):
        with pytest.raises(InputError, match=message):
            ModelFile.open(tmp_path / file)


def test_refuses_a_truncated_file(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-200])
    with pytest.raises(InputError, match="no model file, or is damaged"):
        ModelFile.open(model)


def with_external_data() -> onnx.ModelProto:
    network = threshold_network()
    weight = network.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return network


def with_custom_operator() -> onnx.ModelProto:
    network = threshold_network()
    network.graph.node[0].domain = "com.evil"
    return network


def with_operator_in_a_branch() -> onnx.ModelProto:
    network = threshold_network()
    branch = helper.make_graph([helper.make_node("Run", [], ["y"], domain="com.evil")], "branch", [], [])
    network.graph.node.append(helper.make_node("If", ["logits"], ["z"], then_branch=branch, else_branch=branch))
    return network


def with_function() -> onnx.ModelProto:
    network = threshold_network()
    network.functions.append(helper.make_function("own", "f", [], [], [], []))
    return network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (with_external_data(), "keeps weights in another file"),
        (with_custom_operator(), "com.evil::Conv"),
        (with_operator_in_a_branch(), "com.evil::Run"),
        (with_function(), "functions of its own"),
        (b"\xff" * 40, "no ONNX file"),
        (b"", "can't load the network"),
        (b"\x08\x0a", "can't load the network"),
    ],
    ids=["external", "custom", "branch", "function", "no onnx", "empty", "nothing but a version"],
)
def test_refuses_networks(network: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        Predictor(write_model(tmp_path / "model.pyz", network))


def test_nothing_of_the_file_is_executed(model: Path, images: Path, tmp_path: Path) -> None:
    evil = b"raise SystemExit('executed')"
    rewritten(model, lambda members: {name: evil if name.endswith(".py") else text for name, text in members.items()})
    predict(model, images, tmp_path / "out")


# ----------------------------------------------------------------------------------------------------- bad images


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 9, 9)), "2 channels; the model expects 1"),
        (np.zeros((1, 0, 9)), "no voxels"),
        (np.full((1, 9, 9), np.nan), "not a number"),
        (np.full((1, 9, 9), np.inf), "infinite"),
        (np.zeros((1, 1, 1, 9, 9)), "expected"),
        (np.zeros(9), "expected"),
    ],
    ids=["channels", "empty", "nan", "infinite", "5 axes", "1 axis"],
)
def test_refuses_arrays(array: np.ndarray, message: str, model: Path) -> None:
    with pytest.raises(InputError, match=message):
        Predictor(model)(array)


@pytest.mark.parametrize("spacing", [(0, 1), (-1, 1), (np.nan, 1)])
def test_refuses_spacings(spacing: tuple[float, float], model: Path) -> None:
    with pytest.raises(InputError, match="spacing"):
        Predictor(model)(disc(), spacing)


def test_refuses_2d_images_for_3d_models(tmp_path: Path) -> None:
    model = write_model(
        tmp_path / "model.pyz", patch_size=(4, 8, 8), spacing=(1.0, 1.0, 1.0), mirror_axes=None, **VOLUMES
    )
    with pytest.raises(InputError, match="is 2D; the model expects 3D"):
        Predictor(model)(disc(), (1, 1))


def test_refuses_what_is_thinner_than_a_voxel() -> None:
    description = dataclasses.replace(DESCRIPTION, patch_size=(4, 8, 8), spacing=(1.0, 1.0, 1.0), mirror_axes=None)
    with pytest.raises(InputError, match=r"measures 0\.3, 20, 20 mm, less than half a voxel of the model's spacing 1,"):
        preprocess(disc()[None, None], (0.3, 1, 1), description)


def test_refuses_colours_in_a_volume_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "model.pyz", file_ending=".mha", reader="SimpleITKIO")
    (tmp_path / "images").mkdir()
    image = sitk.GetImageFromArray(np.zeros((9, 9, 3), np.uint8), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "images" / "a_0000.mha"))
    message = refused(capsys, lambda: predict(model, tmp_path / "images", tmp_path / "out"))
    assert "has 3 values a pixel; expected 1" in message


def test_first_stage_is_asked_for(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "model.pyz", previous_stage="3d_lowres")
    assert "3d_lowres" in refused(capsys, lambda: predict(model, images, tmp_path / "out"))


def empty_folder(images: Path) -> None:
    shutil.rmtree(images)
    images.mkdir()


def truncated_png(images: Path) -> None:
    file = images / "a_0000.png"
    file.write_bytes(file.read_bytes()[:60])


def of_other_sizes(images: Path) -> None:
    skimage.io.imsave(images / "a_0001.png", disc(10), check_contrast=False)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty_folder, "no file that ends in .png"),
        (lambda images: (images / "a_0000.png").rename(images / "a.png"), "number of its channel"),
        (lambda images: [file.rename(file.with_suffix(".tif")) for file in images.iterdir()], "but .tif"),
        (truncated_png, "can't read"),
        (lambda images: (images / "a_0000.png").write_bytes(b""), "can't read"),
        (lambda images: shutil.copy(images / "a_0000.png", images / "a_0001.png"), "2 channels; the model expects 1"),
        (of_other_sizes, "channels of a case must have one"),
        (lambda images: skimage.io.imsave(images / "a_0000.png", np.zeros((9, 9, 3), np.uint8), check_contrast=False),
         "3 channels; the model expects 1 (EM)"),
    ],
    ids=["none", "unnumbered", "ending", "truncated", "empty", "channels", "sizes", "colours"],
)  # fmt: skip
def test_refuses_images(
    spoil: Any, message: str, model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(images)
    assert message in refused(capsys, lambda: predict(model, images, tmp_path / "out"))
    assert not list((tmp_path / "out").glob(".*"))  # nothing half-written


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-part_id", "1"], "-part_id 1"),
        (["-np", "-1"], "-np -1"),
        (["-step_size", "0"], "-step_size 0"),
        (["--continue_prediction", "--overwrite"], "give one of them"),
        (["--postprocess"], "the model has none"),
        (["-prev_stage_predictions", "."], "not the second stage"),
    ],
    ids=str,
)
def test_refuses_flags(
    flags: list[str], message: str, model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, lambda: predict(model, images, tmp_path / "out", *flags))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("device", get_args(Device))
def test_devices(device: Device, model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another package of ONNX Runtime has OpenVINO or CUDA; where this one lacks a device, the message names that."""
    provider, package = PROVIDERS[device]
    out = tmp_path / "out"
    if provider not in onnxruntime.get_available_providers():
        message = refused(capsys, lambda: predict(model, images, out, "-device", device))
        assert f"-device {device}: ONNX Runtime has no {provider} here" in message
        assert f"pip install {package}" in message
        assert not out.exists()
        return
    predict(model, images, out, "-device", device)
    np.testing.assert_array_equal(skimage.io.imread(out / "a.png"), disc() > 100)


def test_a_full_disk(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nnunet_pyconv.runtime.readers.natural_image import NaturalImage

    def full(self: NaturalImage, labels: np.ndarray, file: Path, image: object) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(NaturalImage, "_write_file", full)
    assert "No space left" in refused(capsys, lambda: predict(model, images, tmp_path / "out"))
    assert not [file for file in (tmp_path / "out").iterdir() if file.suffix != ".json"]


def test_an_interrupt(model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "logits", interrupted)
    with pytest.raises(SystemExit) as raised:
        predict(model, images, tmp_path / "out")
    assert raised.value.code == 130
    assert not [file for file in (tmp_path / "out").iterdir() if file.suffix != ".json"]


# --------------------------------------------------------------------------------------------------------- readers


def test_geometry_goes_to_the_prediction(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.pyz", **VOLUMES)
    (tmp_path / "images").mkdir()
    volume = np.stack([disc()] * 4).astype(np.float32)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((1.0, 1.0, 4.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "images" / "v_0000.nii.gz"))
    predict(model, tmp_path / "images", tmp_path / "out")
    found = sitk.ReadImage(str(tmp_path / "out" / "v.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), volume > 100)
    assert found.GetSpacing() == (1, 1, 4)
    assert found.GetOrigin() == (1, 2, 3)
    assert found.GetDirection() == image.GetDirection()


def test_spacing_beside_a_tiff(tiffs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, images = tiffs
    (images / "v.json").write_text('{"spacing": [3, 0.5, 0.5]}')
    predict(model, images, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "v.json").read_text()) == {"spacing": [3, 0.5, 0.5]}
    (images / "v.json").write_text("[]")
    assert "v.json is no JSON" in refused(capsys, lambda: predict(model, images, tmp_path / "out2"))


def test_description_survives_its_file(model: Path) -> None:
    read = ModelFile.open(model).description
    assert dataclasses.replace(read, sha256={}) == DESCRIPTION
    assert read.number_of_outputs == 2
    regions = dataclasses.replace(
        DESCRIPTION, labels={"background": 0, "whole": [1, 2], "core": 2}, regions_class_order=(1, 2)
    )
    assert isinstance(regions, Description)
    assert regions.number_of_outputs == 2
    assert regions.foreground_labels == (1, 2)
