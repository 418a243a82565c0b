"""The start of a training: new, resumed from a checkpoint, or a finished run that is trained longer.

A finished run is trained longer by more epochs, or by more patience after an early stop. It keeps no checkpoint, which
would be four times as large as the weights. So the training goes on from the run's last weights, with an empty
optimizer and a new moving average. The learning rate follows the schedule of the new number of epochs from the epoch
that the run has reached, after a second warm-up of `train.warmup_epochs`. The result differs from that of a run with
the new number of epochs from its start.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from pelagia.errors import InputError, first_line
from pelagia_training.config import TrainConfig
from pelagia_training.data.splits import Splits
from pelagia_training.devices import is_first, name_of
from pelagia_training.environment import changes, environment
from pelagia_training.fit.checkpoint import RunHistory, RunProgress, load_checkpoint, save_checkpoint
from pelagia_training.fit.context import Report
from pelagia_training.fit.learner import Learner
from pelagia_training.fit.prepare import first_state
from pelagia_training.runs.check import Begin
from pelagia_training.runs.folder import CHECKPOINT_FILE, LAST_FILE, FinalFit, read_state, write_config, write_state
from pelagia_training.runs.logs import read_metrics, write_metrics


def begin_history(
    config: TrainConfig,
    out: Path,
    splits: Splits,
    learner: Learner,
    begin: Begin,
    report: Report,
    final: FinalFit | None = None,
) -> RunHistory:
    """The history of the run so far, or a new one; also writes it to the run folder.

    `run.json` is written before `config.yaml`, so that a run which is killed here can be prolonged again.

    Args:
        final: what a run on all images has from its cross-validation; None: an ordinary run.
    """
    now, epochs = environment(name_of(learner.fabric)), final.epochs if final else config.train.epochs
    if begin == "no":
        history = RunHistory(RunProgress(), first_state(splits, learner.network, now), [])
        report(f"training {config.model.backbone} on {len(splits.train)} images, {now['device']}")
        if final:
            report(f"no image is held out; {epochs} epochs, because {final.reason}")
    else:
        history = prolonged(out, learner) if begin == "prolonged" else load_checkpoint(out / CHECKPOINT_FILE, learner)
        for change in changes(history.state.environment, now):
            report(f"warning: the environment has changed since the run started, so last digits may differ: {change}")
        history.state = history.state.model_copy(update={"dataset": splits.dataset.root.absolute()})
        done = history.progress
        how = "training the finished run longer," if begin == "prolonged" else "resuming"
        report(f"{how} after epoch {done.epoch} of {epochs}, batch {done.batch}")
    history.state = history.state.model_copy(update={"final": final})
    learner.fabric.barrier()  # no process writes before all processes have read
    if is_first():
        if begin == "prolonged":
            save_checkpoint(out / CHECKPOINT_FILE, learner, history)
        write_state(out, history.state)
        write_config(out, config)
        write_metrics(out, history.metrics)
    return history


def prolonged(out: Path, learner: Learner) -> RunHistory:
    """Sets ``learner`` to the last weights of the finished run ``out``, and returns the history of the run.

    Raises:
        InputError: the weights or `metrics.csv` are missing or damaged.
    """
    state = read_state(out)
    try:
        with safe_open(out / LAST_FILE, "pt") as file:
            epoch = (file.metadata() or {}).get("epoch")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        for module in learner.modules.values():
            module.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{out / LAST_FILE} is missing or damaged ({first_line(error)}), so the run cannot be trained longer: put "
            "the file back, or choose another --out"
        ) from None
    if epoch != str(state.epoch):
        raise InputError(
            f"{out / LAST_FILE} holds the weights of epoch {epoch}, but the run has finished epoch {state.epoch}: put "
            "the right file back, or choose another --out"
        )
    progress = RunProgress(epoch=state.epoch, best=state.metrics["macro_f1"], seconds=state.seconds)
    state = state.model_copy(update={"status": "running", "prolonged_after": state.epoch})
    return RunHistory(progress, state, read_metrics(out, state.epoch))


def prolonged_after(out: Path, begin: Begin) -> int:
    """The number of epochs after which the run ``out`` is or was prolonged the last time; 0: never."""
    if begin == "no":
        return 0
    state = read_state(out)
    return state.epoch if begin == "prolonged" else state.prolonged_after
