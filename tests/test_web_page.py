"""The page in a real browser, headless Chromium: it finds what the Python predictor finds."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import SimpleITK as sitk  # noqa: N813  # its own habit
import skimage.io
import tifffile
from onnx import TensorProto, helper, numpy_helper
from runtime_models import write_model
from scipy import ndimage
from waiting import wait_until

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.export.web import check_page, write_page
from nnunet_pyconv.export.web.write import RUNTIME, RUNTIME_FILES
from nnunet_pyconv.runtime.description import Normalization, Resampling
from nnunet_pyconv.runtime.model_file import ModelFile
from nnunet_pyconv.runtime.predictor import Predictor
from nnunet_pyconv.runtime.readers import reader_named

selenium = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser; it is in the extra test")
from selenium.webdriver.common.by import By  # noqa: E402  # after the skip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
ONNXRUNTIME_WEB = Path(write_page.__code__.co_filename).with_name("page") / RUNTIME

needs_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)",
    ),
    pytest.mark.skipif(
        not ONNXRUNTIME_WEB.is_dir(),
        reason=f"no onnxruntime-web here; npm pack onnxruntime-web, and unpack its dist into {ONNXRUNTIME_WEB}",
    ),
]

Z_SCORE = Normalization("ZScoreNormalization", False, 0, 1, 0, 1)
CT = Normalization("CTNormalization", False, 50.0, 300.0, -500.0, 600.0)


def random_network(channels: int, outputs: int = 3) -> onnx.ModelProto:
    """A 5 x 5 convolution of random weights: mirroring, position and neighbours all show in what it finds."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(outputs, channels, 5, 5)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], ["logits"], pads=[2] * 4)],
        "random",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", channels, "y", "x"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs, "y", "x"])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def smooth(*shape: int) -> np.ndarray:
    """Smooth noise from 0 to 1."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=shape), [0] * (len(shape) - 2) + [4, 4])
    return (noise - noise.min()) / (noise.max() - noise.min())


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    servers = []

    def start(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking",
                 "--window-size=390,844", f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


def wait_for(browser: Any, *states: str, timeout_s: float = 60) -> str:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        state: str = browser.execute_script("return document.body.dataset.state ?? ''")
        if state in states:
            return state
        time.sleep(0.05)
    raise AssertionError(browser.find_element(By.ID, "message").text or "the page shows nothing")


def open_page(browser: Any, serve: Callable[[Path], str], model: Path, folder: Path) -> None:
    write_page(ModelFile.open(model), folder / "page", None)
    browser.get(serve(folder / "page"))
    assert wait_for(browser, "ready", "error") == "ready", browser.find_element(By.ID, "message").text


def segment(browser: Any, *files: Path) -> str:
    browser.execute_script("document.body.dataset.state = 'chosen'; document.getElementById('files').value = ''")
    browser.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))
    return wait_for(browser, "done", "error")


def mask(browser: Any, folder: Path, name: str) -> np.ndarray:
    folder.mkdir(exist_ok=True)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    browser.find_element(By.ID, "download").click()
    wait_until((folder / name).exists, timeout_s=20)
    if name.endswith(".png"):
        return skimage.io.imread(folder / name)[None]
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name)))


def write_image(file: Path, array: np.ndarray, **kwargs: Any) -> Path:
    if file.suffix == ".png":
        skimage.io.imsave(file, array, check_contrast=False)
    elif file.suffix == ".tif":
        tifffile.imwrite(file, array, **kwargs)
    else:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.7, 0.9, 4.0))
        image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
        sitk.WriteImage(image, str(file))
    return file


NIFTI = {"file_ending": ".nii.gz", "reader": "SimpleITKIO"}
CASES: dict[str, tuple[str, np.ndarray, dict[str, Any], dict[str, Any]]] = {
    "grey": ("a_0000.png", (255 * smooth(70, 90)).astype(np.uint8), {}, {}),
    "grey of 16 bit": ("a_0000.png", (60000 * smooth(40, 50)).astype(np.uint16), {}, {}),
    "colours": (
        "a_0000.png",
        (255 * np.moveaxis(smooth(3, 50, 40), 0, -1)).astype(np.uint8),
        {"channels": ("R", "G", "B"), "normalization": (Z_SCORE,) * 3},
        {},
    ),
    "tiff": (
        "a_0000.tif",
        (1500 * smooth(50, 60) - 800).astype(np.int16),
        {"file_ending": ".tif", "normalization": (CT,)},
        {"rowsperstrip": 7},
    ),
    "tiff, packed": (
        "a_0000.tif",
        (255 * smooth(50, 60)).astype(np.uint8),
        {"file_ending": ".tif"},
        {"compression": "zlib", "predictor": True},
    ),
    "tiff, lzw": (
        "a_0000.tif",
        (255 * smooth(200, 210)).astype(np.uint8),
        {"file_ending": ".tif"},
        {"compression": "lzw"},
    ),
    "volume": ("a_0000.nii.gz", (100 * smooth(3, 40, 50)).astype(np.float32), {"spacing": (1.1, 0.55), **NIFTI}, {}),
    "cropped volume": (
        "a_0000.nii.gz",
        np.pad((100 * smooth(3, 40, 50)).astype(np.int16) + 1, [(1, 1), (5, 3), (0, 9)]),
        {"normalization": (Normalization("ZScoreNormalization", True, 0, 1, 0, 1),), "spacing": (0.9, 0.7), **NIFTI},
        {},
    ),
}


@pytest.mark.parametrize(("name", "array", "changes", "kwargs"), CASES.values(), ids=CASES)
class TestSameAsPython:
    pytestmark = needs_browser

    def test_mask(
        self, name: str, array: np.ndarray, changes: dict[str, Any], kwargs: dict[str, Any], browser: Any,
        serve: Callable[[Path], str], tmp_path: Path,
    ) -> None:  # fmt: skip
        settings: dict[str, Any] = {
            "normalization": (Z_SCORE,), "patch_size": (32, 24), "labels": {"background": 0, "a": 1, "b": 2}, **changes
        }  # fmt: skip
        network = random_network(len(settings.get("channels", "1")))
        model = write_model(tmp_path / "model.pyz", network, **settings)
        file = write_image(tmp_path / name, array, **kwargs)
        description = ModelFile.open(model).description
        image = reader_named(description.reader, description.file_ending).read([file])
        predictor = Predictor(model)
        data, geometry = predictor.prepare(image.array, image.spacing)
        expected = predictor.labels(predictor.logits(data), geometry)
        assert len(np.unique(expected)) == 3
        open_page(browser, serve, model, tmp_path)
        assert segment(browser, file) == "done", browser.find_element(By.ID, "message").text
        found = mask(browser, tmp_path / "downloads", "a_mask.nii" if ".nii" in name else "a_mask.png")
        assert found.shape == expected.shape
        assert (found == expected).mean() >= 0.999


class TestPage:
    pytestmark = needs_browser

    def test_areas_slices_and_requests(self, browser: Any, serve: Callable[[Path], str], tmp_path: Path) -> None:
        """Two slices with a square of 10 x 10 pixels of 0.7 x 0.9 mm in the second."""
        volume = np.full((2, 30, 30), 50, np.float32)
        volume[1, 5:15, 5:15] = 200
        model = write_model(tmp_path / "model.pyz", spacing=(0.9, 0.7), **NIFTI)
        file = write_image(tmp_path / "v_0000.nii.gz", volume)
        browser.get_log("performance")
        open_page(browser, serve, model, tmp_path)
        assert segment(browser, file) == "done"
        cells = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#labels td")]
        assert cells == ["cell", "100", "63.00"]
        assert browser.find_element(By.ID, "number").text == "2 of 2"
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        browser.execute_async_script("navigator.serviceWorker.ready.then(arguments[0])")
        browser.refresh()  # now with the headers that allow threads
        wait_for(browser, "ready")
        assert browser.execute_script("return self.crossOriginIsolated")
        assert segment(browser, file) == "done"
        assert cells == [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#labels td")]
        urls = [
            message["params"]["request"]["url"]
            for entry in browser.get_log("performance")
            if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"
        ]
        assert urls
        assert not [url for url in urls if not url.startswith(("http://127.0.0.1:", "blob:", "data:", "chrome"))]

    def test_real_slice(self, real_data: Path, browser: Any, serve: Callable[[Path], str], tmp_path: Path) -> None:
        image = skimage.io.imread(real_data / "isbi2012" / "test" / "image" / "0.png")
        file = write_image(tmp_path / "a_0000.png", image)
        model = write_model(
            tmp_path / "model.pyz",
            random_network(1),
            normalization=(Z_SCORE,),
            patch_size=(256, 256),
            labels={"background": 0, "a": 1, "b": 2},
        )
        open_page(browser, serve, model, tmp_path)
        assert segment(browser, file) == "done"
        found = mask(browser, tmp_path / "downloads", "a_mask.png")
        assert (found[0] == Predictor(model)(image[None])).mean() >= 0.999

    def test_hostile_files(self, browser: Any, serve: Callable[[Path], str], tmp_path: Path) -> None:
        open_page(browser, serve, write_model(tmp_path / "model.pyz"), tmp_path)
        whole = write_image(tmp_path / "a_0000.png", (255 * smooth(40, 40)).astype(np.uint8)).read_bytes()
        huge = bytearray(whole)
        huge[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
        tiff = write_image(tmp_path / "t_0000.tif", np.zeros((9, 9), np.uint8)).read_bytes()
        circle = bytearray(tiff)
        start = int.from_bytes(tiff[4:8], "little")
        after_tags = start + 2 + 12 * int.from_bytes(tiff[start : start + 2], "little")
        circle[after_tags : after_tags + 4] = tiff[4:8]  # the next page is the same
        nifti = write_image(tmp_path / "v.nii", np.zeros((2, 9, 9), np.float32)).read_bytes()
        for name, content, message in (
            ("truncated.png", whole[: len(whole) // 2], "truncated"),
            ("huge.png", bytes(huge), "at most"),
            ("text.png", b"no image at all", "neither PNG, nor TIFF, nor NIfTI"),
            ("truncated.tif", tiff[:12], "truncated"),
            ("circle.tif", bytes(circle), "circle"),
            ("truncated.nii", nifti[:-9], "truncated"),
            ("empty.nii", b"", "neither PNG"),
            ("three.png", _png(np.zeros((9, 9, 3), np.uint8), tmp_path), "3 channels; the model expects 1"),
        ):
            (tmp_path / name).write_bytes(content)
            assert segment(browser, tmp_path / name) == "error"
            assert message in browser.find_element(By.ID, "message").text, name
        assert segment(browser, tmp_path / "a_0000.png") == "done"  # it goes on afterwards


def _png(array: np.ndarray, folder: Path) -> bytes:
    return write_image(folder / "other.png", array).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": (4, 8, 8), "spacing": (1.0, 1.0, 1.0), "mirror_axes": None}, "export the 2d configuration"),
        ({"previous_stage": "3d_lowres"}, "second stage"),
        ({"precision": "int8"}, "export it with --precision fp16"),
        ({"reader": "NibabelIOWithReorient"}, "which turns them"),
        ({"reader": "Tiff3DIO", "file_ending": ".tif"}, "the spacing of a TIFF from a file beside it"),
        ({"reader": "SimpleITKIO", "file_ending": ".nrrd"}, "for .nrrd files"),
        ({"resample_logits": Resampling("resample_torch_fornnunet")}, "resamples by resample_torch_fornnunet"),
    ],
)
def test_refuses_models(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = ModelFile.open(write_model(tmp_path / "model.pyz", **changes))
    with pytest.raises(InputError, match=message):
        write_page(model, tmp_path / "page", None)
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_writes_what_the_page_needs(packed: bool, tmp_path: Path) -> None:
    model = ModelFile.open(write_model(tmp_path / "model.pyz"))
    given = tmp_path / "package" / "dist"
    given.mkdir(parents=True)
    for name in RUNTIME_FILES:
        (given / name).write_text(f"this is {name}")
    source = given.parent
    if packed:
        source = tmp_path / "onnxruntime-web-1.0.tgz"
        with tarfile.open(source, "w:gz") as archive:
            archive.add(given.parent, "package")
    page = tmp_path / "page"
    check_page(page, source, overwrite=False)
    for overwrite in (False, True):
        write_page(model, page, source, overwrite=overwrite)
        assert {name: (page / RUNTIME / name).read_text() for name in RUNTIME_FILES} == {
            name: f"this is {name}" for name in RUNTIME_FILES
        }
        assert json.loads((page / "model.json").read_text()) == json.loads(model.description.to_json())
        assert (page / "MODEL_CARD.md").read_text() == model.model_card
        assert (page / "networks/fold_0.onnx").read_bytes() == model.network("networks/fold_0.onnx")
        assert (page / "index.html").is_file()
        (page / "of_the_first").touch()
    assert [path.name for path in page.glob("of_*")] == ["of_the_first"]
    with pytest.raises(InputError, match="page exists already"):
        check_page(page, source, overwrite=False)


def test_says_how_to_get_onnxruntime_web(tmp_path: Path) -> None:
    model = ModelFile.open(write_model(tmp_path / "model.pyz"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.tgz").write_bytes(b"no")
    for given in ("empty", "no.tgz"):
        with pytest.raises(InputError, match="npm pack onnxruntime-web"):
            write_page(model, tmp_path / "page", tmp_path / given)
        assert not (tmp_path / "page").exists()


def test_replaces_only_its_own_folder(tmp_path: Path) -> None:
    model = ModelFile.open(write_model(tmp_path / "model.pyz"))
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine").touch()
    for overwrite, message in ((False, "exists already"), (True, "something else")):
        with pytest.raises(InputError, match=message):
            write_page(model, tmp_path / "page", None, overwrite=overwrite)
    assert (tmp_path / "page" / "mine").exists()
