"""Images blended with others of their batch."""

import torch

from pelagia_training.data.mixing import mix
from pelagia_training.network.losses import soft_targets

SIDE = 16
LEVELS = torch.arange(0, 240, 10)
PIXELS = LEVELS.to(torch.uint8)[:, None, None, None].expand(-1, SIDE, SIDE, 3).contiguous()
TARGETS = soft_targets(torch.arange(len(LEVELS)), len(LEVELS), 0.0)


def test_without_mixing_the_batch_stays_as_it_is() -> None:
    pixels, targets = mix(PIXELS, TARGETS, mixup=0, cutmix=0, seed=(0, 1))
    assert pixels is PIXELS
    assert targets is TARGETS


def test_blended_pixels_are_as_their_targets_say() -> None:
    pixels, targets = mix(PIXELS, TARGETS, mixup=1, cutmix=0, seed=(0, 1))
    assert pixels.dtype == torch.uint8
    assert torch.allclose(targets.sum(1), torch.ones(len(targets)), atol=1e-6)
    expected = targets @ LEVELS.float()
    assert (pixels[:, 0, 0, 0].float() - expected).abs().max() <= 0.5
    assert (pixels == pixels[:, :1, :1, :1]).all()


def test_a_rectangle_counts_for_its_area() -> None:
    pixels, targets = mix(PIXELS, TARGETS, mixup=0, cutmix=1, seed=(0, 1))
    for image, target, own in zip(pixels[..., 0], targets, LEVELS, strict=True):
        foreign = (image != own).float().mean()
        assert torch.isclose(1 - foreign, target[target.argmax()], atol=1e-6) or foreign == 0
        assert len(image.unique()) <= 2


def test_each_image_stays_the_larger_part_of_itself() -> None:
    for seed in range(20):
        _, targets = mix(PIXELS, TARGETS, mixup=0.5, cutmix=0.5, seed=(seed,))
        assert (targets.diagonal() >= 0.5 - 1e-6).all()


def test_about_the_share_that_is_asked_for_is_mixed() -> None:
    changed = [mix(PIXELS, TARGETS, mixup=0.25, cutmix=0.25, seed=(seed,))[0] != PIXELS for seed in range(50)]
    share = torch.stack(changed).flatten(2).any(2).float().mean()
    assert 0.4 < share < 0.55


def test_the_seed_alone_decides() -> None:
    first, again, other = (mix(PIXELS, TARGETS, mixup=0.5, cutmix=0.5, seed=(0, step))[0] for step in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_batch_that_was_given_is_not_written_to() -> None:
    before = PIXELS.clone()
    mix(PIXELS, TARGETS, mixup=0.5, cutmix=0.5, seed=(0,))
    assert torch.equal(PIXELS, before)
