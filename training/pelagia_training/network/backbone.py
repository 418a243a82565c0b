"""A timm backbone with a head for the dataset's classes, and the graph that is exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from pelagia.errors import ConfigError, InputError, did_you_mean, first_line
from pelagia.model.graph import EMBEDDING_NAME, OUTPUT_NAME, UNKNOWN_NAME
from pelagia_training.network.sizes import patch_of, sizes_that_fit, takes_size
from pelagia_training.network.unknown import VirtualLogit

Rgb = tuple[float, float, float]


def build_network(
    backbone: str,
    classes: int,
    *,
    pretrained: bool,
    drop_rate: float,
    options: Mapping[str, Any],
    size: int | None = None,
) -> nn.Module:
    """Builds a timm network: normalized images, float32 N x 3 x H x W -> logits, float32 N x ``classes``.

    Args:
        size: the side of the images in pixels. If the network does not take it by default, it is built with timm's
            option ``img_size``. None: only ``options`` decide.

    Raises:
        ConfigError: timm does not know the backbone or an option, or the network does not take images of ``size``.
        InputError: the weights cannot be loaded from timm's hub.
    """
    _require_known(backbone, options)
    wanted = {"num_classes": classes, "drop_rate": drop_rate, **options}
    network = _created(backbone, wanted, options)
    if size is not None and "img_size" not in options and not takes_size(network, size):
        network = _created_for_size(backbone, wanted, size)
        wanted["img_size"] = size
    if getattr(network, "num_classes", 0) != classes or not network.pretrained_cfg.get("classifier"):  # type: ignore[union-attr, operator]
        fault = f"{backbone} with {dict(options)} does not classify the dataset's {classes} classes"
        raise ConfigError("model.options", [f"{fault}: remove the option that changes the network's output"])
    return _from_hub(backbone, wanted) if pretrained else network


def _require_known(backbone: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError if timm does not know the backbone, or if ``options`` ask for another input than RGB."""
    if not timm.is_model(backbone):
        hint = did_you_mean(backbone, timm.list_models())
        raise ConfigError("model.backbone", [f"timm {timm.__version__} has no '{backbone}'{hint}"])
    try:
        timm.get_pretrained_cfg(backbone)
    except RuntimeError:
        hint = did_you_mean(backbone, timm.list_pretrained())
        fault = f"timm {timm.__version__} has the network, but no weights '{backbone}'{hint}"
        raise ConfigError("model.backbone", [fault]) from None
    if options.get("in_chans", 3) != 3:
        fault = (
            f"in_chans is {options['in_chans']}, but Pelagia gives every network the three channels of RGB, which are "
            "equal in a gray image: remove in_chans; the first layer of weights with one channel is converted"
        )
        raise ConfigError("model.options", [fault])


def _from_hub(backbone: str, wanted: Mapping[str, Any]) -> nn.Module:
    """The network with the weights of timm's hub."""
    try:
        network: nn.Module = timm.create_model(backbone, pretrained=True, **wanted)
    except Exception as error:  # the connection, the hub or the disk fails, or the weights do not fit the options
        raise InputError(
            f"the weights of {backbone} cannot be loaded from timm's hub: {first_line(error)}; "
            "with a file of the weights, no internet is needed: --set model.pretrained=false --set model.weights=FILE, "
            "`weights: FILE` in a list of --networks, or --weights FILE of `pelagia embedder`"
        ) from None
    return network


def _created(backbone: str, wanted: Mapping[str, Any], options: Mapping[str, Any]) -> nn.Module:
    """The network that timm builds with the options ``wanted``; the message names ``options``."""
    try:
        network: nn.Module = timm.create_model(backbone, pretrained=False, **wanted)
    except Exception as error:  # timm's networks raise different errors for a wrong option
        fault = (
            f"timm cannot build {backbone} with {dict(options)}: {first_line(error)}; correct model.options or "
            "model.drop_rate"
        )
        raise ConfigError("model", [fault]) from None
    return network


def _created_for_size(backbone: str, wanted: Mapping[str, Any], size: int) -> nn.Module:
    """The network with timm's option ``img_size``. Raises ConfigError if it does not take images of ``size``."""
    try:
        network: nn.Module = timm.create_model(backbone, pretrained=False, **wanted, img_size=size)
        patch, fits = patch_of(network), takes_size(network, size)
    except Exception:  # this network has no such option, or cannot be built for this size
        patch, fits = None, False
    if fits and (patch is None or size % patch == 0):
        return network
    fault = f"{backbone} does not take images of {size} x {size} pixels"
    if fits:
        fault = (
            f"{backbone} cuts images into patches of {patch} x {patch} pixels, and {size} is not a multiple of {patch}"
        )
    sizes = sizes_that_fit(backbone, wanted, size)
    listed = f"{'one of ' if len(sizes) > 1 else ''}{', '.join(map(str, sizes))}"
    advice = f"set preprocess.size to {listed}" if sizes else "choose another model.backbone"
    raise ConfigError("preprocess.size", [f"{fault}: {advice}"])


def require_fit(classifier: Normalized, size: int, backbone: str) -> None:
    """Raises ConfigError if the network does not take images of ``size`` x ``size`` pixels."""
    try:
        with torch.no_grad():
            logits = classifier.eval()(*example_inputs(classifier, size))
    except Exception as error:  # as in `build_network`
        fault = f"{backbone} does not take images of {size} x {size} pixels: {first_line(error)}"
        advice = "set another preprocess.size, or remove img_size from model.options"
        raise ConfigError("preprocess.size", [f"{fault}; {advice}"]) from None
    if logits.ndim != 2:
        fault = f"{backbone} returns {tuple(logits.shape[1:])} numbers per image instead of one per class"
        raise ConfigError("model.options", [f"{fault}: remove the option that changes the network's output"])


def is_head(network: nn.Module, name: str) -> bool:
    """Whether a parameter belongs to a classifier layer according to timm; some networks have two such layers."""
    config: Any = network.pretrained_cfg
    heads = config["classifier"] if isinstance(config["classifier"], (list, tuple)) else [config["classifier"]]
    return name.startswith(tuple(f"{head}." for head in heads))


def normalization(network: nn.Module, mean: Rgb | None, std: Rgb | None) -> tuple[Rgb, Rgb]:
    """Mean and standard deviation of the input on 0..1: the given values, or timm's values for the backbone if None."""
    config: Any = network.pretrained_cfg
    return tuple(mean or config["mean"]), tuple(std or config["std"])


class SizeHead(nn.Module):
    """Computes a correction of the logits, float32 N x classes, from the size of each image.

    The input is float32, N x 3: width and height in pixels, and pixel size in micrometers; 0 if unknown.

    The sides are sorted by length, because plankton has no fixed orientation. The correction adds the evidence from the
    size to that from the pixels; the hidden layer lets a class have a typical size. The correction is zero at first.
    A size is limited to four standard deviations of the training set.
    """

    middle: Tensor
    scale: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, classes))
        nn.init.zeros_(self.layers[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[2].bias)  # type: ignore[arg-type]
        self.register_buffer("middle", torch.zeros(3))
        self.register_buffer("scale", torch.zeros(3))

    def fit(self, sizes: Tensor) -> None:
        """Sets mean and standard deviation of the logarithms of ``sizes``; a constant or unknown column is ignored."""
        logs, known = _logs(sizes)
        for column in range(3):
            values = logs[known[:, column], column]
            deviation = float(values.std()) if len(values) > 1 else 0.0
            self.middle[column] = values.mean() if len(values) else 0.0
            self.scale[column] = 1 / deviation if deviation > 1e-3 else 0.0

    def forward(self, size: Tensor) -> Tensor:
        logs, known = _logs(size)
        standard = ((logs - self.middle) * self.scale).clamp(-4, 4)
        added: Tensor = self.layers(torch.where(known, standard, 0.0))
        return added


def _logs(size: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of longer side, shorter side and pixel size, and which of them are known: each N x 3."""
    width, height, micrometres = size.unbind(1)
    ordered = torch.stack((torch.maximum(width, height), torch.minimum(width, height), micrometres), 1)
    known = ordered > 0
    return torch.log(torch.where(known, ordered, 1.0)), known


class Normalized(nn.Module):
    """A network with its normalization: images, uint8 N x H x W x 3, RGB, 0..255 -> logits, float32 N x classes.

    Args:
        network: takes normalized images, and returns logits.
        mean: the mean of the input on 0..1, per channel.
        std: the standard deviation of the input on 0..1, per channel.
        size_head: takes a second input, the sizes, and corrects the logits; None if the network takes no sizes.
        orientations: the number of views of each image whose features and logits are averaged: 1, 2, 4 or 8.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self, network: nn.Module, mean: Rgb, std: Rgb, size_head: SizeHead | None = None, orientations: int = 1
    ) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = mean, std
        self.size_head = size_head
        self.orientations = orientations
        deviation = torch.tensor(std)
        self.register_buffer("scale", (1 / (255 * deviation)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("offset", (torch.tensor(mean) / deviation).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor, size: Tensor | None = None) -> Tensor:
        return self.with_size(self.averaged(self.network(self.normal(image))), size)

    def normal(self, image: Tensor) -> Tensor:
        """The normalized input of the network, for V orientations one after the other: float32, (V N) x 3 x H x W."""
        normal = image.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale - self.offset
        return oriented(normal, self.orientations)

    def averaged(self, given: Tensor) -> Tensor:
        """The mean over the V orientations: (V N) x D -> N x D."""
        if self.orientations == 1:
            return given
        return given.reshape(self.orientations, -1, given.shape[1]).mean(0)

    def with_size(self, logits: Tensor, size: Tensor | None) -> Tensor:
        """The network's logits plus the correction for the size."""
        return logits if self.size_head is None else logits + self.size_head(size)


def oriented(images: Tensor, count: int) -> Tensor:
    """Square images N x 3 x S x S in ``count`` orientations, one after the other: (count N) x 3 x S x S.

    1: unchanged; 2: also mirrored; 4: also both of these upside down; 8: also all four transposed.
    """
    views = [images, images.flip(3), images.flip(2), images.flip(2, 3)][: min(count, 4)]
    if count == 8:
        views += [view.transpose(2, 3) for view in views]
    return torch.cat(views) if count > 1 else images


def example_inputs(model: Normalized, size: int) -> tuple[Tensor, ...]:
    """Example inputs: two black images, and their sizes if the network takes sizes."""
    images = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    return (images,) if model.size_head is None else (images, torch.full((2, 3), float(size)))


def features_of(classifier: Normalized, image: Tensor) -> Tensor:
    """The input of the last layer: uint8 N x H x W x 3 -> float32 N x D. The network must pass `shows_features`."""
    network: Any = classifier.network
    spatial = network.forward_features(classifier.normal(image))
    features: Tensor = network.forward_head(spatial, pre_logits=True)
    return classifier.averaged(features)


def last_layer(classifier: Normalized) -> nn.Linear:
    """The layer from features to logits. The network must pass `shows_features`."""
    network: Any = classifier.network
    last: nn.Linear = network.get_classifier()
    return last


def logits_of(classifier: Normalized, features: Tensor, size: Tensor | None) -> Tensor:
    """The logits of `Normalized`, computed from features: float32 N x classes."""
    return classifier.with_size(last_layer(classifier)(features), size)


def shows_features(classifier: Normalized, image: Tensor) -> bool:
    """Whether one linear layer turns timm's features into the logits, as in most networks; tested on ``image``."""
    try:
        with torch.no_grad():
            logits = classifier.eval().averaged(classifier.network(classifier.normal(image)))
            again = last_layer(classifier)(features_of(classifier, image))
    except Exception:  # some of timm's networks lack the method, or have a list of heads
        return False
    return isinstance(last_layer(classifier), nn.Linear) and torch.allclose(logits, again, rtol=1e-3, atol=1e-4)


def require_features(classifier: Normalized, size: int, backbone: str) -> None:
    """Raises ConfigError if the network shows no features (`shows_features`), so that it has no embedding."""
    if not shows_features(classifier, example_inputs(classifier, size)[0]):
        fault = f"{backbone} does not end in one linear layer, so it gives no embedding"
        raise ConfigError("model.embedding", [f"{fault}: choose another backbone, or leave the embedding out"])


class Deployed(nn.Module):
    """The exported graph: images, uint8 N x H x W x 3, and sizes if used -> probabilities, float32 N x classes.

    With ``unknown`` it has a second output, the out-of-distribution score of `pelagia_training.network.unknown`,
    float32 N. With ``embedding`` its last output is the features, float32 N x D: the mean over all orientations.

    Args:
        temperatures: the divisors of the logits after their mean is subtracted: one for all classes, or one per class.

    Attributes:
        outputs: the names of the outputs, in order.
    """

    divisors: Tensor

    def __init__(
        self,
        classifier: Normalized,
        temperatures: float | Sequence[float] = 1.0,
        unknown: VirtualLogit | None = None,
        *,
        embedding: bool = False,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.unknown = unknown
        self.embedding = embedding
        self.outputs = [OUTPUT_NAME, *[UNKNOWN_NAME] * (unknown is not None), *[EMBEDDING_NAME] * embedding]
        self.register_buffer("divisors", torch.tensor(temperatures, dtype=torch.float32))

    def forward(self, image: Tensor, size: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        logits, *others = self.parts(image, size)
        given = [softened(logits, self.divisors), *others]
        return tuple(given) if others else given[0]

    def parts(self, image: Tensor, size: Tensor | None = None) -> list[Tensor]:
        """The outputs, with the logits, float32 N x classes, in the place of the probabilities."""
        if self.unknown is None and not self.embedding:
            return [self.classifier(image, size)]
        features = features_of(self.classifier, image)
        given = [logits_of(self.classifier, features, size)]
        if self.unknown is not None:
            given.append(self.unknown(features, given[0]))
        if self.embedding:
            given.append(features)
        return given


def softened(logits: Tensor, divisors: Tensor) -> Tensor:
    """The probabilities, float32 N x classes; ``divisors`` are the temperatures."""
    return torch.softmax((logits - logits.mean(1, keepdim=True)) / divisors, dim=1)


class Embedder(nn.Module):
    """A graph without classes: images, uint8 N x H x W x 3, RGB, 0..255 -> features, float32 N x D.

    ``outputs`` are the names of its outputs, as in `Deployed`.
    """

    outputs = (EMBEDDING_NAME,)

    def __init__(self, classifier: Normalized) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: Tensor) -> Tensor:
        return features_of(self.classifier, image)
