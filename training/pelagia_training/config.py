"""The schema of `configs/training/*.yaml`. No class stores a config; each gets plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pelagia.config import Strict
from pelagia.images.preprocess import PreprocessSpec

Rgb = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]
Orientations = Literal[1, 2, 4, 8]
"""The numbers of mirrored and rotated views that a model can average."""
MOST_ORIENTATIONS = {"all": 8, "horizontal": 2, "none": 1}
"""`augment.flips` -> the number of views that the training shows the network."""

FREE_KEYS = (
    *("dataset", "data.workers", "data.cache", "data.stream"),
    *("devices", "nodes", "loggers", "train.checkpoint_minutes", "model.orientations", "model.embedding"),
)
"""Keys that may change when a run is resumed, because the result does not depend on them. The dataset's folder may
change, its fingerprint may not."""
RAISED_KEYS = ("train.epochs", "train.patience")
"""Keys that may be higher when a run is resumed. A finished run is then prolonged (`pelagia_training.fit.prolong`)."""


class NetworkConfig(Strict):
    """A timm backbone and the source of its first weights."""

    backbone: str = Field(description="a name from timm.list_models()")
    pretrained: bool = Field(default=False, description="download weights from timm's hub; needs internet access once")
    weights: Path | None = Field(
        default=None, description="first weights: a .safetensors, .pth or .pt file, or a run folder"
    )
    mean: Rgb | None = Field(
        default=None, description="mean of the input on 0..1; null: timm's values for the backbone"
    )
    std: tuple[Positive, Positive, Positive] | None = Field(
        default=None, description="standard deviation of the input on 0..1; null: as for mean"
    )
    drop_rate: float = Field(default=0.0, ge=0, lt=1, description="dropout before the head")
    size: bool = Field(
        default=False, description="also give the network the size of the original crop, which resizing removes"
    )
    orientations: Orientations = Field(
        default=1,
        description="number of mirrored and rotated views that an exported model averages; it is slower by this factor",
    )
    embedding: bool = Field(
        default=False, description="an exported model also gives the embedding of an image, for labelling"
    )
    options: dict[str, Any] = Field(default={}, description="options for timm.create_model, such as pad_type: same")

    @model_validator(mode="after")
    def _one_source(self) -> NetworkConfig:
        if self.pretrained and self.weights is not None:
            raise ValueError("pretrained and weights exclude each other: choose timm's hub or a local file")
        return self


class Resplit(Strict):
    """Splits that replace the dataset's splits: for cross-validation, or a random split for comparison."""

    by: Literal["group", "image"] = Field(
        default="group", description="group: all images of a group go to one split; image: a random split"
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        description="number of parts, one of which is the test split; null: shares as in the dataset",
    )
    fold: int = Field(default=1, ge=1, description="number of the part that is the test split, counted from 1")
    test_groups: tuple[str, ...] = Field(
        default=(), description="groups that are the test split, such as one camera; empty: chosen by the seed"
    )
    everything: bool = Field(
        default=False, description="all images are training images; only `pelagia train --final` sets it"
    )
    seed: int = Field(default=0, ge=0, description="seed of the random assignment")

    @model_validator(mode="after")
    def _one_of_them(self) -> Resplit:
        if self.everything and (self.folds is not None or self.test_groups):
            raise ValueError("everything holds no image out, so it excludes folds and test_groups")
        if self.folds is not None and self.fold > self.folds:
            raise ValueError(f"there are {self.folds} folds, so there is no fold {self.fold}: choose 1 to {self.folds}")
        if self.test_groups and (self.folds is not None or self.by == "image"):
            raise ValueError("test_groups names the test split, so it excludes folds and by: image")
        return self


class DataConfig(Strict):
    """The images of a run, their cache, and the number of processes that augment them."""

    exclude: tuple[str, ...] = Field(default=(), description="names of classes to leave out")
    resplit: Resplit | None = Field(
        default=None, description="splits that replace the dataset's splits; null: the dataset's splits"
    )
    workers: int | None = Field(
        default=None, ge=0, description="number of processes that augment images; null: 0 for a CPU, 8 for a GPU"
    )
    cache: Path | None = Field(
        default=None,
        description="folder of decoded and fitted images, and of features; null: a folder in the user's cache folder",
    )
    stream: bool = Field(
        default=False, description="decode the originals in each epoch, if the disk has no room for a cache"
    )


class AugmentConfig(Strict):
    """Random changes of the fitted crop, in training only. A value is a probability unless its description differs."""

    strength: float = Field(
        default=1.0, ge=0, le=10, description="factor for all keys below except flips and rotate; the first key to tune"
    )
    flips: Literal["all", "horizontal", "none"] = Field(
        default="all", description="all: for plankton, which has no upright position; horizontal: for fish"
    )
    rotate: float = Field(default=180.0, ge=0, le=180, description="largest angle in degrees")
    scale: float = Field(default=0.15, ge=0, lt=1, description="largest relative change of the size")
    shift: float = Field(default=0.05, ge=0, lt=1, description="largest shift, as a share of the side")
    light: float = Field(default=0.2, ge=0, le=1, description="largest relative change of brightness and contrast")
    colour: float = Field(default=0.0, ge=0, le=1, description="largest relative change of hue and saturation")
    blur: float = Field(default=0.1, ge=0, le=1, description="blur, as out of focus")
    illumination: float = Field(default=0.0, ge=0, le=1, description="light that fades to one side or a corner")
    background: float = Field(default=0.0, ge=0, le=1, description="changed brightness and tint behind the organism")
    clip: float = Field(default=0.0, ge=0, le=1, description="the organism is cut off, as at the edge of a frame")
    bubbles: float = Field(default=0.0, ge=0, le=1, description="one to three bubbles in the image")
    noise: float = Field(default=0.1, ge=0, le=1, description="sensor noise")
    jpeg: float = Field(default=0.1, ge=0, le=1, description="artifacts of JPEG compression")
    erase: float = Field(default=0.0, ge=0, le=1, description="one or two black rectangles")


LongTail = Literal["none", "balanced_sampling", "sqrt_sampling", "logit_adjustment", "focal", "effective_number"]
"""Methods for rare classes; docs/how-to/recipes.md explains when to use each."""


Scheduler = Literal["cosine", "tanh", "step", "multistep", "poly", "wsd", "rsqrt", "constant", "none"]
"""The schedulers of timm whose learning rate follows from the step alone; plateau needs the metrics of the run.
constant has the warm-up, none has not."""


class DistilConfig(Strict):
    """Distillation: the network learns the mean prediction of other runs in addition to each image's label."""

    teachers: tuple[Path, ...] = Field(default=(), description="run folders with the same classes and preprocessing")
    weight: float = Field(
        default=0.5, ge=0, le=1, description="weight of the teachers' prediction; the label has the rest"
    )
    temperature: float = Field(
        default=1.0, gt=0, description="divisor of the teachers' logits; above 1: less likely classes count more"
    )


class OptimizerConfig(Strict):
    """The optimizer, the learning rate, the loss, and the averaging of weights.

    timm makes the optimizer (`create_optimizer_v2`) and the course of the learning rate (`create_scheduler_v2`). The
    parameters always get the groups of `layer_decay`, `freeze_epochs` and `weight_decay`.
    """

    epochs: int = Field(default=10, ge=1, description="passes over the training images")
    first_size: int | None = Field(
        default=None,
        ge=16,
        description="side in pixels of the training images in the first epoch, for a faster training. It grows in "
        "steps of 16 and is preprocess.size in the last quarter of the epochs; null: preprocess.size in all epochs",
    )
    batch_size: int = Field(default=64, ge=2, description="images per optimizer step, over all devices")
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        description="images per forward pass on a device, with summed gradients; null: its entire share of the batch",
    )
    optimizer: str = Field(default="adamw", description="a name from timm.optim.list_optimizers()")
    optimizer_options: dict[str, Any] = Field(
        default={}, description="options of the optimizer in timm, such as betas: [0.9, 0.95] or momentum: 0.9"
    )
    scheduler: Scheduler = Field(
        default="cosine", description="course of the learning rate after the warm-up, by its name in timm"
    )
    scheduler_options: dict[str, Any] = Field(
        default={},
        description="options of timm.scheduler.create_scheduler_v2, such as min_lr: 1e-5 or decay_epochs: 3; counted "
        "from the end of the warm-up; step decays at each third of the training, multistep at half and three quarters",
    )
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate, reached after the warm-up")
    weight_decay: float = Field(
        default=0.05, ge=0, description="weight decay; not applied to biases and normalization layers"
    )
    warmup_epochs: float = Field(
        default=1.0, ge=0, description="number of first epochs in which the learning rate rises"
    )
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="share of the target spread over all classes")
    soft_labels: bool = Field(
        default=False,
        description="learn the probabilities in the column soft_label of the dataset, which people left open",
    )
    clip_grad: float = Field(
        default=1.0, gt=0, description="largest norm of the gradient; larger ones are scaled down to it"
    )
    ema_decay: float = Field(
        default=0.998, ge=0, lt=1, description="decay of the moving average of the weights; 0: no moving average"
    )
    long_tail: LongTail = Field(default="none", description="method for rare classes")
    mixup: float = Field(default=0.0, ge=0, le=1, description="share of the images that are blended with another image")
    cutmix: float = Field(
        default=0.0, ge=0, le=1, description="share of the images into which a rectangle of another is pasted"
    )
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="ratio of a layer's learning rate to that of the next layer"
    )
    head_only: bool = Field(
        default=False,
        description="fit only the last layer, to the features of the first weights, in seconds: for few labels. Of the "
        "keys of train, only long_tail and soft_labels then have an effect",
    )
    freeze_epochs: int = Field(default=0, ge=0, description="number of first epochs in which only the head is trained")
    soup: int = Field(
        default=0,
        ge=0,
        description="number of last epochs whose weights are averaged; the average is kept if it is better",
    )
    distil: DistilConfig = DistilConfig()
    patience: int = Field(
        default=10, ge=1, description="the run stops after this many epochs without a better macro-F1"
    )
    compile: bool = Field(default=False, description="use torch.compile: a slow first epoch, then faster epochs")
    checkpoint_minutes: float = Field(
        default=5.0, ge=0, description="minutes between two checkpoints; 0: after each batch"
    )

    @model_validator(mode="after")
    def _mixed_once(self) -> OptimizerConfig:
        if self.mixup + self.cutmix > 1:
            raise ValueError("mixup and cutmix are shares of the images: lower them so that their sum is at most 1")
        if self.soup == 1:
            raise ValueError(
                "soup averages the weights of at least two epochs: set it to 2 or more, or to 0 for no average"
            )
        if self.freeze_epochs >= self.epochs:
            raise ValueError(f"freeze_epochs must be less than epochs, which is {self.epochs}")
        return self


class DecisionConfig(Strict):
    """Targets from which the exported model's thresholds are chosen."""

    unknown: bool = Field(
        default=True, description="whether the model has an out-of-distribution score, if the network allows it"
    )
    target_precision: float = Field(
        default=0.95, gt=0, lt=1, description="share of the classified images that must be correct"
    )
    known_share: float = Field(
        default=0.95, gt=0, lt=1, description="share of the validation images that must not be classified as unknown"
    )


class TrainConfig(Strict):
    """The complete config of a training run."""

    name: str = Field(min_length=1, description="name of the model")
    licence: str = Field(default="", description="license of the trained weights, as an SPDX identifier")
    dataset: Path | None = Field(default=None, description="a dataset folder")
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of all random numbers of the run")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="auto: a GPU if there is one")
    devices: int = Field(
        default=1, ge=1, description="processes on this machine, one per GPU; torchrun and Slurm override it"
    )
    nodes: int = Field(default=1, ge=1, description="number of machines; torchrun and Slurm override it")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: bf16 on a GPU that supports it, else fp32"
    )
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = Field(
        default=("tensorboard",), description="experiment trackers that also get the metrics of metrics.csv"
    )
    preprocess: PreprocessSpec = PreprocessSpec()
    model: NetworkConfig
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    train: OptimizerConfig = OptimizerConfig()
    decision: DecisionConfig = DecisionConfig()

    @model_validator(mode="after")
    def _head_alone(self) -> TrainConfig:
        if not self.train.head_only:
            return self
        faults = {
            "the network keeps its first weights, and there are none: set model.weights to a file or a run folder, or "
            "model.pretrained=true": not self.model.pretrained and self.model.weights is None,
            "model.size is learned with the network: leave it out": self.model.size,
            "train.distil.teachers are learned from with the network: leave them out": self.train.distil.teachers,
            f"train.long_tail is {self.train.long_tail}, which draws images, and no images are drawn: set it to none, "
            "logit_adjustment, effective_number or focal": self.train.long_tail.endswith("_sampling"),
            "it runs in one process: set devices=1 and nodes=1": self.devices * self.nodes > 1,
        }
        if found := [fault for fault, there in faults.items() if there]:
            raise ValueError("with train.head_only (--head-only), " + "; ".join(found))
        return self

    @model_validator(mode="after")
    def _grows(self) -> TrainConfig:
        first, size = self.train.first_size, self.preprocess.size
        if first is not None and first > size:
            raise ValueError(
                f"train.first_size is {first}, but the images have {size} pixels (preprocess.size): set "
                "train.first_size to a smaller number, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _seen_in_training(self) -> TrainConfig:
        most = MOST_ORIENTATIONS[self.augment.flips]
        if self.model.orientations > most:
            raise ValueError(
                f"model.orientations is {self.model.orientations}, but augment.flips={self.augment.flips} shows the "
                f"network at most {most} of these views: set model.orientations to at most {most}"
            )
        return self
