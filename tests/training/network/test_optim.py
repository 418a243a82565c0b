"""Learning rates by depth, and a backbone that waits."""

import pytest
import torch

from pelagia_training.network.backbone import Normalized, SizeHead, build_network, is_head
from pelagia_training.network.optim import build_optimizer


def model(backbone: str = "test_resnet", size: bool = True) -> Normalized:
    network = build_network(backbone, 4, pretrained=False, drop_rate=0.0, options={})
    return Normalized(network, (0.5,) * 3, (0.5,) * 3, SizeHead(4) if size else None)


def rates(network: Normalized, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    names = {id(value): name for name, value in network.named_parameters()}
    return {names[id(one)]: group["lr"] for group in optimizer.param_groups for one in group["params"]}


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "mobilenetv2_100", "resnet10t"])
def test_every_parameter_learns_once(backbone: str) -> None:
    network = model(backbone)
    optimizer = build_optimizer(network, lr=1e-3, weight_decay=0.05, layer_decay=0.7, frozen_steps=5)
    found = [id(one) for group in optimizer.param_groups for one in group["params"]]
    assert len(found) == len(set(found))
    assert set(found) == {id(one) for one in network.parameters()}


def test_early_layers_learn_slower() -> None:
    network = model("mobilenetv2_100")
    found = rates(network, build_optimizer(network, lr=1e-3, weight_decay=0.05, layer_decay=0.8))
    assert found["network.classifier.weight"] == found["size_head.layers.0.weight"] == 1e-3
    assert found["network.conv_stem.weight"] < found["network.blocks.3.0.conv_pw.weight"] < 1e-3


def test_without_a_decay_all_learn_alike_in_few_groups() -> None:
    network = model(size=False)
    optimizer = build_optimizer(network, lr=1e-3, weight_decay=0.05)
    assert set(rates(network, optimizer).values()) == {1e-3}
    assert len(optimizer.param_groups) <= 4


def test_biases_and_normalisations_do_not_decay() -> None:
    optimizer = build_optimizer(model(size=False), lr=1e-3, weight_decay=0.05)
    for group in optimizer.param_groups:
        assert {one.ndim > 1 for one in group["params"]} == {group["weight_decay"] > 0}


def test_embeddings_and_tokens_do_not_decay() -> None:
    network = model("test_vit", size=False)
    optimizer = build_optimizer(network, lr=1e-3, weight_decay=0.05)
    kept = {id(one) for group in optimizer.param_groups if not group["weight_decay"] for one in group["params"]}
    still = {name for name, one in network.named_parameters() if one.ndim > 1 and id(one) in kept}
    assert still == {"network.cls_token", "network.pos_embed"}


def test_the_head_does_not_wait() -> None:
    network = model()
    optimizer = build_optimizer(network, lr=1e-3, weight_decay=0.05, frozen_steps=7)
    names = {id(value): name for name, value in network.network.named_parameters()}
    for group in optimizer.param_groups:
        for one in group["params"]:
            of_head = id(one) not in names or is_head(network.network, names[id(one)])
            assert group["begin"] == (0 if of_head else 7)
    assert optimizer.param_groups[0]["begin"] == 0
