"""Networks of a fixed size: built for the size of the images, or refused with the sizes that fit."""

import re

import pytest
import timm
import torch

from pelagia.errors import ConfigError
from pelagia_training.network.backbone import build_network
from pelagia_training.network.sizes import sizes_that_fit


def built(backbone: str, size: int, **options: object) -> torch.nn.Module:
    return build_network(backbone, 3, pretrained=False, drop_rate=0.0, options=options, size=size).eval()


def refusal(backbone: str, size: int, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        built(backbone, size, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "backbone", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "levit_128s", "visformer_tiny", "pit_ti_224"]
)
def test_a_network_of_a_fixed_size_is_built_for_the_size_of_the_images(backbone: str) -> None:
    with torch.no_grad():
        assert built(backbone, 64)(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_network_that_takes_every_size_is_built_as_timm_builds_it() -> None:
    torch.manual_seed(0)
    plain = timm.create_model("test_vit", num_classes=3, drop_rate=0.0)
    torch.manual_seed(0)
    assert all(
        torch.equal(value, plain.state_dict()[name]) for name, value in built("test_vit", 64).state_dict().items()
    )


def test_an_img_size_of_the_user_is_kept() -> None:
    assert built("vit_tiny_patch16_224", 64, img_size=96).patch_embed.img_size == (96, 96)  # type: ignore[union-attr]


def test_a_patch_that_does_not_divide_the_side_is_said() -> None:
    said = refusal("vit_tiny_patch16_224", 100)
    assert said.startswith(
        "preprocess.size: vit_tiny_patch16_224 cuts images into patches of 16 x 16 pixels, and 100 is not a multiple "
        "of 16: set preprocess.size to one of "
    )
    sizes = [int(size) for size in re.findall(r"\d+", said.rpartition(" to ")[2])]
    assert 96 in sizes
    assert 112 in sizes
    assert all(size % 16 == 0 for size in sizes)


def test_a_network_without_the_option_is_refused_with_sizes_that_fit() -> None:
    said = refusal("halonet26t", 64)
    assert said.startswith("preprocess.size: halonet26t does not take images of 64 x 64 pixels: set preprocess.size to")
    size = int(re.findall(r"\d+", said.rpartition(" to ")[2])[0])
    with torch.no_grad():
        assert built("halonet26t", size)(torch.zeros(1, 3, size, size)).shape == (1, 3)


def test_the_sizes_that_fit_are_near_and_ascending() -> None:
    assert sizes_that_fit("vit_small_patch14_dinov2", {}, 128) == [98, 112, 126, 140, 154]


def test_gray_input_is_refused_with_what_happens_to_gray_images() -> None:
    said = refusal("test_resnet", 64, in_chans=1)
    assert "in_chans is 1, but Pelagia gives every network the three channels of RGB" in said
    assert "remove in_chans; the first layer of weights with one channel is converted" in said
