import os
import random
from typing import Any

import pytest
from pydantic import Field

from pelagia.config import Strict, altered, dump_yaml, kinds_of, load_config, read_text, validate
from pelagia.errors import ConfigError, InputError, PelagiaError
from pelagia.images.preprocess import PreprocessSpec
from pelagia.system.yaml_text import parse_yaml


class Optimiser(Strict):
    lr: float = Field(default=0.1, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)


class Stage(Strict):
    color: str = "red"


class Train(Strict):
    epochs: int = Field(default=3, ge=1)
    name: str = "baseline"
    optimiser: Optimiser = Optimiser()
    stages: tuple[Stage, ...] = ()
    extra: Stage | None = None
    options: dict[str, Any] = {}
    preprocess: PreprocessSpec = PreprocessSpec()


@pytest.fixture
def config(tmp_path):
    def config(text, *overrides):
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, Train, overrides)

    return config


def faults(action):
    with pytest.raises(ConfigError) as caught:
        action()
    return caught.value.faults


def test_an_empty_file_gives_the_defaults(config):
    assert config("# nothing\n") == Train()


def test_a_byte_order_mark_is_dropped(config):
    assert config(b"\xef\xbb\xbfepochs: 5\r\n").epochs == 5


def test_a_number_written_as_1e_3_is_a_number(config):
    assert config("optimiser: {lr: 1e-3}").optimiser.lr == 0.001


def test_all_faults_come_in_one_message(config, tmp_path):
    with pytest.raises(ConfigError) as caught:
        config("epoch: 5\nname: 7\noptimiser: {lr: -1}\n")
    assert str(caught.value) == (
        f"{tmp_path / 'c.yaml'}: 3 faults\n"
        "  - name: input should be a valid string (found 7)\n"
        "  - optimiser.lr: input should be greater than 0 (found -1)\n"
        "  - unknown key 'epoch' (did you mean 'epochs'?)"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("optimiser: {lrr: 1}", "unknown key 'optimiser.lrr' (did you mean 'lr'?)"),
        ("stages: [{}, {colour: blue}]", "unknown key 'stages.1.colour' (did you mean 'color'?)"),
        ("extra: {colour: blue}", "unknown key 'extra.colour' (did you mean 'color'?)"),
        ("zzz: 1", "unknown key 'zzz'"),
        (
            "epochs: many",
            "epochs: input should be a valid integer, unable to parse string as an integer (found 'many')",
        ),
        ("epochs: .nan", "epochs: input should be a finite number (found nan)"),
        ("epochs:", "epochs: input should be a valid integer (found None)"),
        ("optimiser: 5", "optimiser: input should be a valid dictionary or instance of Optimiser (found 5)"),
        ("optimiser: {lr: .nan}", "optimiser.lr: input should be greater than 0 (found nan)"),
        ("name: no", "name: input should be a valid string (found False)"),
        ("name: 2024-01-02", "name: input should be a valid string (found datetime.date(2024, 1, 2))"),
    ],
)
def test_a_fault_names_its_place_and_what_was_found(config, text, fault):
    assert faults(lambda: config(text)) == (fault,)


def test_a_huge_wrong_value_is_cut_in_the_message(config):
    (fault,) = faults(lambda: config(f"epochs: {list(range(10_000))}"))
    assert fault == "epochs: input should be a valid integer (found [0, 1, 2, 3, 4, 5, ...])"


@pytest.mark.parametrize(("text", "kind"), [("[1, 2]", "a list"), ("hello", "plain text"), ("5", "only 5")])
def test_a_file_that_is_no_mapping_is_refused(config, text, kind):
    fault = f"it is no config file: expected keys and values, such as `name: ...`, found {kind}"
    assert faults(lambda: config(text)) == (fault,)


def test_a_key_that_stands_twice_is_refused_with_its_line(config):
    assert faults(lambda: config("epochs: 1\nname: a\nepochs: 2\n")) == (
        "line 3, column 1: the key 'epochs' appears twice",
    )


def test_a_deep_key_that_stands_twice_is_refused(config):
    assert faults(lambda: config("optimiser:\n  lr: 1\n  lr: 2\n")) == ("line 3, column 3: the key 'lr' appears twice",)


def test_a_merged_key_may_be_overridden_wherever_its_anchor_stands():
    text = "base: &b {x: 1}\nwithin: {d: &d {<<: *b, x: 2}}\ne: {<<: *d}\n"
    assert parse_yaml(text, "it") == {"base": {"x": 1}, "within": {"d": {"x": 2}}, "e": {"x": 2}}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("\tepochs: 1", "line 1, column 1: found character '\\t' that cannot start any token"),
        ("a: *nowhere", "line 1, column 4: found undefined alias 'nowhere'"),
        ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
        ("a: \x00", "unacceptable character #x0000: special characters are not allowed"),
        ("? [1]\n: 2", "line 1, column 3: found unhashable key"),
        ("!!map [1]", "line 1, column 1: expected a mapping node, but found sequence"),
        ("a: 2024-13-41", "a value that YAML cannot read: month must be in 1..12"),
        ("a: !!bool maybe", "a value that YAML cannot read: 'maybe'"),
        ("[" * 5000, "nested too deeply"),
        (
            "!!python/object/apply:os.system [ls]",
            "line 1, column 1: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
    ],
)
def test_yaml_that_cannot_be_read_is_one_fault(text, fault):
    assert faults(lambda: parse_yaml(text, "it")) == (fault,)


def test_a_number_of_five_thousand_digits_is_one_fault():
    (fault,) = faults(lambda: parse_yaml("a: " + "9" * 5000, "it"))
    assert fault.startswith("a value that YAML cannot read: Exceeds the limit (4300 digits)")


def test_an_anchor_that_holds_itself_is_refused(config):
    assert faults(lambda: config("stages: &s [*s]")) == (
        "stages.0: input should be a valid dictionary or instance of Stage (found [[[[[[[...]]]]]]])",
    )


@pytest.mark.parametrize("seed", range(20))
def test_garbage_gives_a_value_or_a_config_error(seed):
    pieces = [
        "a",
        ": ",
        "\n",
        "  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&x ",
        "*x",
        "<<",
        "!!int ",
        "'",
        '"',
        "|",
        "\t",
        "1e999",
        "~",
        "\x07",
        "é",
    ]
    choose = random.Random(seed)
    for _ in range(100):
        text = "".join(choose.choices(pieces, k=choose.randint(1, 25)))
        try:
            parse_yaml(text, "it")
        except ConfigError as error:
            assert str(error).startswith("it: ")  # noqa: PT017


def test_an_override_replaces_a_deep_value(config):
    assert config("epochs: 2", "optimiser.lr=0.5", "epochs=9") == Train(epochs=9, optimiser=Optimiser(lr=0.5))


def test_an_override_is_yaml(config):
    assert config("", "optimiser.betas=[0.5, 0.6]", 'name="7"') == Train(
        name="7", optimiser=Optimiser(betas=(0.5, 0.6))
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "--set: 'epochs' is not of the form key=value, such as train.epochs=5"),
        ("=5", "--set: '=5' is not of the form key=value, such as train.epochs=5"),
        ("a..b=5", "--set: 'a..b=5' is not of the form key=value, such as train.epochs=5"),
        ("epochs.x=5", "--set: 'epochs.x=5': 'epochs' holds a value, not further keys"),
        ("name=[", "--set name=[: line 1, column 2: expected the node content, but found '<stream end>'"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(config, override, message):
    with pytest.raises(ConfigError) as caught:
        config("epochs: 2", override)
    assert str(caught.value) == message


def test_an_unknown_override_is_an_unknown_key(config):
    assert faults(lambda: config("", "epoch=5")) == ("unknown key 'epoch' (did you mean 'epochs'?)",)


def test_an_altered_config_is_another_one_and_validated_with_all_faults():
    config = Train(optimiser=Optimiser(lr=0.5))
    changed = altered(config, {"optimiser.betas": [0.1, 0.2], "options.depth": 3, "epochs": 7}, "it")
    assert changed == Train(epochs=7, optimiser=Optimiser(lr=0.5, betas=(0.1, 0.2)), options={"depth": 3})
    assert config == Train(optimiser=Optimiser(lr=0.5))
    assert faults(lambda: altered(config, {"optimiser.lr": -1, "epochs": 0}, "it")) == (
        "epochs: input should be greater than or equal to 1 (found 0)",
        "optimiser.lr: input should be greater than 0 (found -1)",
    )


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        ("epochs", (int,)),
        ("optimiser.lr", (float,)),
        ("extra", (Stage, type(None))),
        ("extra.color", (str,)),
        ("preprocess.size", (int,)),
        ("options.depth", (Any,)),
    ],
)
def test_what_a_key_may_hold_follows_from_the_schema(key, kinds):
    assert kinds_of(Train, key) == kinds


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("epoch", "unknown key 'epoch' (did you mean 'epochs'?)"),
        ("optimiser.lrs", "unknown key 'optimiser.lrs' (did you mean 'lr'?)"),
        ("epochs.lr", "unknown key 'epochs.lr'"),
        ("preprocess.sizes", "unknown key 'preprocess.sizes' (did you mean 'size'?)"),
        ("", "unknown key ''"),
    ],
)
def test_a_key_that_the_schema_does_not_have_holds_nothing(key, fault):
    assert faults(lambda: kinds_of(Train, key)) == (fault,)


def test_a_document_that_is_no_mapping_has_a_message_without_a_place():
    assert faults(lambda: validate(5, Train, "it")) == (
        "input should be a valid dictionary or instance of Train (found 5)",
    )


def test_a_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Train().epochs = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["no", "1", "1e3", "~", "a: b", "# x", "é\u2028ü", " x ", "- y", "'", "null", "2024-01-01", "0x1F"]
)
def test_what_is_dumped_is_read_back(config, name):
    model = Train(name=name, stages=(Stage(), Stage(color=name)))
    assert config(dump_yaml(model)) == model


def test_a_nan_survives_json():
    class Metrics(Strict):
        values: dict[str, float]

    text = Metrics(values={"f1": float("nan"), "loss": float("inf")}).model_dump_json()
    assert str(Metrics.model_validate_json(text)) == "values={'f1': nan, 'loss': inf}"


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        load_config(tmp_path / "no.yaml", Train)
    assert str(caught.value) == f"there is no config file at {tmp_path / 'no.yaml'}"


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(InputError) as caught:
        read_text(tmp_path, "manifest")
    assert str(caught.value) == f"{tmp_path} is a folder, not a manifest"


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"caf\xe9")
    with pytest.raises(InputError) as caught:
        read_text(tmp_path / "x", "manifest")
    assert str(caught.value) == f"{tmp_path / 'x'} is not a manifest: it is not UTF-8 text"


def test_a_link_to_itself_is_one_line(tmp_path):
    (tmp_path / "x").symlink_to("x")
    with pytest.raises(InputError) as caught:
        read_text(tmp_path / "x", "manifest")
    assert str(caught.value) == f"cannot read the manifest {tmp_path / 'x'}: Too many levels of symbolic links"


def test_a_file_without_permission_is_one_line(tmp_path, as_nobody):
    (tmp_path / "x").write_text("a: 1")
    os.chmod(tmp_path / "x", 0)
    with pytest.raises(PelagiaError) as caught:
        as_nobody(lambda: load_config(tmp_path.__class__("x"), Train))
    assert str(caught.value) == "cannot read the config file x: Permission denied"
