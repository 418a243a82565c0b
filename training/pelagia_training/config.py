"""The schema of `configs/training/*.yaml`. Builders take plain values from it; it enters no class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pelagia.config import Strict
from pelagia.images.preprocess import PreprocessSpec

Rgb = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]

FREE_KEYS = (
    *("dataset", "data.workers", "data.cache", "data.stream"),
    *("devices", "nodes", "loggers", "train.checkpoint_minutes", "model.orientations"),
)
"""Keys that may change when a run is resumed: the result does not depend on them. The dataset's fingerprint may not."""


class NetworkConfig(Strict):
    """A timm backbone and where its first weights come from."""

    backbone: str = Field(description="a name that timm.list_models() gives")
    pretrained: bool = Field(default=False, description="weights from timm's hub; needs a network once")
    weights: Path | None = Field(default=None, description="a .safetensors, .pth or .pt file, or a run folder")
    mean: Rgb | None = Field(default=None, description="of the input on 0..1; null: timm's values for the backbone")
    std: tuple[Positive, Positive, Positive] | None = Field(default=None, description="as mean")
    drop_rate: float = Field(default=0.0, ge=0, lt=1, description="dropout before the head")
    size: bool = Field(
        default=False, description="give the network the size of the original crop, which resizing removes"
    )
    orientations: Literal[1, 2, 4, 8] = Field(
        default=1,
        description="mirrored and rotated views that an exported model averages; it takes that many times as long",
    )
    options: dict[str, Any] = Field(default={}, description="passed to timm.create_model, such as pad_type: same")

    @model_validator(mode="after")
    def _one_source(self) -> NetworkConfig:
        if self.pretrained and self.weights is not None:
            raise ValueError("pretrained and weights exclude each other: choose timm's hub or a local file")
        return self


class Resplit(Strict):
    """Splits that replace those of the dataset: for cross-validation, or a random split to compare with."""

    by: Literal["group", "image"] = Field(
        default="group", description="what is kept in one split; image: a random split"
    )
    folds: int | None = Field(
        default=None, ge=2, description="number of parts, of which one is the test split; null: the dataset's shares"
    )
    fold: int = Field(default=1, ge=1, description="the part that is the test split, counted from 1")
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_of_them(self) -> Resplit:
        if self.folds is not None and self.fold > self.folds:
            raise ValueError(f"there are {self.folds} folds, so there is no fold {self.fold}")
        return self


class DataConfig(Strict):
    """Which images, and how many processes augment them."""

    exclude: tuple[str, ...] = Field(default=(), description="classes to leave out")
    resplit: Resplit | None = Field(default=None, description="null: the dataset's own splits")
    workers: int | None = Field(default=None, ge=0, description="augmenting processes; null: 0 on a CPU, 8 for a GPU")
    cache: Path | None = Field(
        default=None, description="folder of decoded and fitted images; null: pelagia in the user's cache folder"
    )
    stream: bool = Field(default=False, description="decode the originals each time, where the disk holds no cache")


class AugmentConfig(Strict):
    """Random changes of the fitted crop, in training only. Probabilities unless stated."""

    strength: float = Field(
        default=1.0, ge=0, le=10, description="multiplies all keys below except flips and rotate; the key to search"
    )
    flips: Literal["all", "horizontal", "none"] = Field(default="all", description="plankton has no up; fish have")
    rotate: float = Field(default=180.0, ge=0, le=180, description="largest angle, degrees")
    scale: float = Field(default=0.15, ge=0, lt=1, description="largest relative change of size")
    shift: float = Field(default=0.05, ge=0, lt=1, description="largest shift, as a share of the side")
    light: float = Field(default=0.2, ge=0, le=1, description="largest relative change of brightness and contrast")
    colour: float = Field(default=0.0, ge=0, le=1, description="largest relative change of hue and saturation")
    blur: float = Field(default=0.1, ge=0, le=1, description="out of focus")
    illumination: float = Field(default=0.0, ge=0, le=1, description="light that falls off to one side or a corner")
    background: float = Field(default=0.0, ge=0, le=1, description="another brightness and tint behind the organism")
    clip: float = Field(default=0.0, ge=0, le=1, description="the organism cut off, as at the edge of a frame")
    bubbles: float = Field(default=0.0, ge=0, le=1, description="one to three bubbles in the image")
    noise: float = Field(default=0.1, ge=0, le=1, description="noise of the sensor")
    jpeg: float = Field(default=0.1, ge=0, le=1, description="artefacts of compression")
    erase: float = Field(default=0.0, ge=0, le=1, description="one or two black rectangles")


LongTail = Literal["none", "balanced_sampling", "sqrt_sampling", "logit_adjustment", "focal", "effective_number"]
"""Methods for rare classes; docs/how-to/recipes.md says when to use which."""


class DistilConfig(Strict):
    """Distillation: the network learns the average answer of other runs beside the label of each image."""

    teachers: tuple[Path, ...] = Field(default=(), description="run folders of the same classes and preprocessing")
    weight: float = Field(default=0.5, ge=0, le=1, description="weight of the teachers' answer; the label has the rest")
    temperature: float = Field(default=1.0, gt=0, description="above 1: the less likely classes count more")


class OptimizerConfig(Strict):
    """AdamW with warm-up and cosine decay, the loss, and the averaging of weights."""

    epochs: int = Field(default=10, ge=1, description="passes over the training images")
    batch_size: int = Field(default=64, ge=2, description="of all devices together")
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        description="images at once on a device, gradients summed; null: its whole share of the batch",
    )
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate, reached after the warm-up")
    weight_decay: float = Field(default=0.05, ge=0, description="of AdamW; not for biases and normalizations")
    warmup_epochs: float = Field(default=1.0, ge=0, description="first epochs, in which the learning rate rises")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="share of the target spread over all classes")
    clip_grad: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    ema_decay: float = Field(default=0.998, ge=0, lt=1, description="0: no moving average of the weights")
    long_tail: LongTail = Field(default="none", description="method for rare classes")
    mixup: float = Field(default=0.0, ge=0, le=1, description="share of the images that are blended with another")
    cutmix: float = Field(default=0.0, ge=0, le=1, description="share of the images that get a rectangle of another")
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="learning rate of a layer, divided by that of the layer after it"
    )
    freeze_epochs: int = Field(default=0, ge=0, description="first epochs in which only the head learns")
    soup: int = Field(
        default=0,
        ge=0,
        description="number of last epochs whose weights are averaged; the average is kept if it is better",
    )
    distil: DistilConfig = DistilConfig()
    patience: int = Field(default=10, ge=1, description="epochs without a better validation macro-F1 before it stops")
    compile: bool = Field(default=False, description="torch.compile: a slow first epoch, faster ones after it")
    checkpoint_minutes: float = Field(default=5.0, ge=0, description="between two checkpoints; 0: after each batch")

    @model_validator(mode="after")
    def _mixed_once(self) -> OptimizerConfig:
        if self.mixup + self.cutmix > 1:
            raise ValueError("mixup and cutmix are shares of the images: together they must be at most 1")
        if self.soup == 1:
            raise ValueError("soup averages the weights of two epochs or more: 0 turns it off")
        if self.freeze_epochs >= self.epochs:
            raise ValueError(f"freeze_epochs must be less than epochs, which are {self.epochs}")
        return self


class DecisionConfig(Strict):
    """Targets from which the exported model's thresholds are chosen."""

    target_precision: float = Field(
        default=0.95, gt=0, lt=1, description="share of the classified images that must be correct"
    )
    known_share: float = Field(
        default=0.95, gt=0, lt=1, description="share of validation images that must not be called unknown"
    )


class TrainConfig(Strict):
    """The whole config of a training run."""

    name: str = Field(min_length=1, description="of the model")
    licence: str = Field(default="", description="of the weights to be made, as an SPDX identifier")
    dataset: Path | None = Field(default=None, description="a dataset folder")
    seed: int = Field(default=0, ge=0, lt=2**32, description="of all random numbers of the run")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="auto: a GPU if there is one")
    devices: int = Field(default=1, ge=1, description="processes on this machine, one a GPU; torchrun and Slurm decide")
    nodes: int = Field(default=1, ge=1, description="machines, under torchrun or Slurm")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: bf16 on a GPU that has it"
    )
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = Field(
        default=("tensorboard",), description="trackers that also get the metrics of metrics.csv"
    )
    preprocess: PreprocessSpec = PreprocessSpec()
    model: NetworkConfig
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    train: OptimizerConfig = OptimizerConfig()
    decision: DecisionConfig = DecisionConfig()

    @model_validator(mode="after")
    def _seen_in_training(self) -> TrainConfig:
        most = {"all": 8, "horizontal": 2, "none": 1}[self.augment.flips]
        if self.model.orientations > most:
            raise ValueError(
                f"model.orientations is {self.model.orientations}, but augment.flips={self.augment.flips} shows the "
                f"network at most {most} of them: it cannot classify the others"
            )
        return self
