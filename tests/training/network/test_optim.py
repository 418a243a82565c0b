"""Learning rates by depth, and a backbone that waits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pelagia.errors import ConfigError
from pelagia.taxonomy import taxonomy_of_names
from pelagia_training.fit.checkpoint import RunHistory, RunProgress, load_checkpoint, save_checkpoint
from pelagia_training.network.backbone import Normalized, SizeHead, build_network, is_head
from pelagia_training.network.optim import build_optimizer, require_optimizer


def model(backbone: str = "test_resnet", size: bool = True) -> Normalized:
    network = build_network(backbone, 4, pretrained=False, drop_rate=0.0, options={})
    return Normalized(network, (0.5,) * 3, (0.5,) * 3, SizeHead(4) if size else None)


def steps(network: Normalized, optimizer: torch.optim.Optimizer, numbers: range) -> None:
    for number in numbers:
        torch.manual_seed(number)
        images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()


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


def test_the_default_is_torchs_adamw_with_the_same_numbers() -> None:
    network, other = model(size=False), model(size=False)
    other.load_state_dict(network.state_dict())
    ours = build_optimizer(network, lr=1e-3, weight_decay=0.05)
    assert type(ours) is torch.optim.AdamW
    names = {id(value): name for name, value in network.named_parameters()}
    named = dict(other.named_parameters())
    groups = [{**group, "params": [named[names[id(one)]] for one in group["params"]]} for group in ours.param_groups]
    theirs = torch.optim.AdamW(
        [{key: group[key] for key in ("params", "lr", "weight_decay")} for group in groups], lr=1e-3, weight_decay=0.05
    )
    steps(network, ours, range(3))
    steps(other, theirs, range(3))
    assert all(map(torch.equal, network.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize("name", ["adamw", "sgd", "nadam", "lion", "lamb", "muon", "adan", "madgrad", "adafactorbv"])
def test_an_optimizer_of_timm_resumes_from_a_checkpoint(name: str, tmp_path: Path) -> None:
    require_optimizer(name, {})
    network = model(size=False)
    optimizer = build_optimizer(network, lr=1e-3, weight_decay=0.05, name=name)
    steps(network, optimizer, range(3))
    state: Any = SimpleNamespace(model_dump=lambda mode: OLD_STATE)
    save_checkpoint(tmp_path / "one", learner(network, optimizer), RunHistory(RunProgress(), state, []))
    steps(network, optimizer, range(3, 6))
    again = model(size=False)
    resumed = build_optimizer(again, lr=1e-3, weight_decay=0.05, name=name)
    load_checkpoint(tmp_path / "one", learner(again, resumed))
    steps(again, resumed, range(3, 6))
    assert all(map(torch.equal, network.state_dict().values(), again.state_dict().values()))


OLD_STATE = {
    "dataset": "d",
    "dataset_name": "d",
    "fingerprint": "f",
    "counts": {},
    "environment": {},
    "taxonomy": taxonomy_of_names("two", ("a", "b")).model_dump(mode="json"),
    "mean": (0.5,) * 3,
    "std": (0.5,) * 3,
}


def learner(network: Normalized, optimizer: torch.optim.Optimizer) -> Any:
    precision = SimpleNamespace(state_dict=dict, load_state_dict=lambda state: None)
    fabric = SimpleNamespace(strategy=SimpleNamespace(precision=precision))
    return SimpleNamespace(optimizer=optimizer, modules={"network": network}, fabric=fabric)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "adamww",
            {},
            r"timm has no optimizer 'adamww' \(did you mean 'adamw'\?\); timm.optim.list_optimizers\(\) lists",
        ),
        ("sgd", {"betas": [0.9, 0.9], "nestrov": True}, r"'sgd' with .*'nestrov': True.* cannot be used here: "),
        ("adahessian", {}, "'adahessian' cannot be used here: "),
        ("kron", {}, "'kron' keeps a state that a checkpoint cannot hold"),
    ],
)
def test_an_optimizer_that_cannot_train_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"train.optimizer: {message}"):
        require_optimizer(name, options)


def test_an_optimizer_is_tried_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """kron compiles its step: with a compiler that fails, the check must still find what is wrong with kron."""
    torch.compiler.reset()
    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", lambda *args, **options: 1 / 0)
    with pytest.raises(ConfigError, match="'kron' keeps a state that a checkpoint cannot hold"):
        require_optimizer("kron", {})
