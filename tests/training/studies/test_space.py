"""The search space of a sweep: every fault of it is reported at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_fixtures import REPOSITORY
from pelagia.errors import ConfigError
from pelagia_training.studies.space import load_search

CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"


def test_all_faults_come_in_one_message_before_torch_is_imported(tmp_path: Path) -> None:
    search = [
        "train.lrr=1..2",
        "augment.strength=0..200",
        "train.long_tail=none,sqrt_samplin",
        "preprocess.size=64.5..128",
        "augment.flips=0..1",
        "train.epochs=5..2",
        "train.lr=log:0..1",
        "train.lr",
        "train.soup=2",
        "train.mixup=0..1",
        "data.workers=0,1",
        "data.exclude=a,b",
        "seed=1,2",
        "model.size=true,{",
    ]
    code = (
        "import sys; from pathlib import Path; from pelagia.errors import ConfigError\n"
        "from pelagia_training.studies.space import load_search\n"
        "try: load_search(Path(sys.argv[1]), ['train.mixup=0'], sys.argv[2:])\n"
        "except ConfigError as error: print(error)\n"
        "print({'torch', 'optuna'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(CONFIG), *search]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    form = "is not of the form KEY=LOW..HIGH, KEY=log:LOW..HIGH or KEY=A,B,C"
    assert shown.splitlines() == [
        f"{CONFIG}: 14 faults",
        "  - unknown key 'train.lrr' (did you mean 'lr'?)",
        "  - augment.strength: input should be less than or equal to 10 (found 200.0)",
        "  - train.long_tail: input should be 'none', 'balanced_sampling', 'sqrt_sampling', 'logit_adjustment', "
        "'focal' or 'effective_number' (found 'sqrt_samplin')",
        "  - preprocess.size: '64.5..128' is not a range: give two whole numbers, LOW..HIGH",
        "  - augment.flips: the key holds no number: list the values to try, augment.flips=A,B,C",
        "  - train.epochs: '5..2' is not a range: LOW must be less than HIGH",
        "  - train.lr: 'log:0..1' begins at 0: LOW of a logarithmic range must be greater than 0",
        f"  - 'train.lr' {form}",
        f"  - train.soup: '2' {form}, with two values or more",
        "  - train.mixup: the key is given twice; give it once, by --search or --set",
        "  - data.workers cannot be searched: the metrics do not depend on it; set it with --set",
        "  - data.exclude cannot be searched: metrics on different images cannot be compared; set it with --set",
        "  - seed cannot be searched: a lucky seed is not a better config; set it with --set",
        "  - model.size: '{' is not valid YAML: line 1, column 2: expected the node content, but found '<stream end>'",
        "set()",
    ]


def test_faults_of_the_config_and_of_the_search_come_together() -> None:
    with pytest.raises(ConfigError) as caught:
        load_search(CONFIG, ["trian.lr=3"], ["train.lrr=1..2"])
    assert caught.value.faults == (
        "unknown key 'trian' (did you mean 'train'?)",
        "unknown key 'train.lrr' (did you mean 'lr'?)",
    )
