"""Starting from ImageNet weights, with small checkpoints made here instead of the downloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import ResNet34_Weights, VGG16_Weights, resnet34, vgg16

from nnunet_pyconv.architectures import FCN8s, ResNet34UNet

CASES = [(ResNet34UNet, resnet34, ResNet34_Weights.IMAGENET1K_V1), (FCN8s, vgg16, VGG16_Weights.IMAGENET1K_V1)]
every_pretrained_network = pytest.mark.parametrize(
    ("network", "classifier", "weights"), CASES, ids=["ResNet34", "VGG16"]
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of torch.hub."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def write_checkpoint(file: Path, classifier: Callable[[], nn.Module]) -> dict[str, torch.Tensor]:
    """Each tensor of torchvision's classifier holds one number, and so needs the place of one."""
    with torch.device("meta"):
        template = classifier()
    state = {
        name: torch.full((1,), 1.0 + number).expand(tensor.shape)
        for number, (name, tensor) in enumerate(template.state_dict().items())
        if not name.endswith("num_batches_tracked")  # as in the files of old
    }
    torch.save(state, file)
    assert file.stat().st_size < 200_000
    return state


@every_pretrained_network
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_weights_are_loaded(network: type, classifier: type, weights: object, channels: int, hub: Path) -> None:
    state = write_checkpoint(hub / Path(weights.url).name, classifier)  # type: ignore[attr-defined]
    encoder = network(input_channels=channels, num_classes=1, pretrained=True).encoder
    loaded = encoder.state_dict()
    first, *others = (name for name in loaded if not name.endswith("num_batches_tracked"))
    for name in others:
        torch.testing.assert_close(loaded[name], state[name])
    assert loaded[first].shape[1] == channels
    # red, green and blue are 1 in each pixel of the kernel, 3 together, whatever the number of channels
    torch.testing.assert_close(loaded[first].sum(1), torch.full_like(loaded[first][:, 0], 3.0))


@every_pretrained_network
def test_off_by_default(network: type, classifier: type, weights: object, hub: Path) -> None:
    write_checkpoint(hub / Path(weights.url).name, classifier)  # type: ignore[attr-defined]
    first, *_ = network(input_channels=3, num_classes=1).encoder.parameters()
    assert not (first == 1).any()


def test_damaged_file(hub: Path) -> None:
    (hub / Path(VGG16_Weights.IMAGENET1K_V1.url).name).write_bytes(b"<html>")
    with pytest.raises(RuntimeError, match=r"are damaged .*; remove the file vgg16.*\.pth from "):
        FCN8s(3, 1, pretrained=True)


@every_pretrained_network
def test_without_network(
    network: type, classifier: type, weights: object, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(RuntimeError, match=r"could not be downloaded .*no route.*\.pth into .*pretrained=False"):
        network(input_channels=3, num_classes=1, pretrained=True)
