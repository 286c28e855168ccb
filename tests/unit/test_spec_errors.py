"""Every mistake is one line: file:line, dotted path, rule, remedy."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from raresearch.errors import PluginError, SpecError, UserError
from raresearch.spec import StudySpec, load
from raresearch.testing.toy import Toy

HEAD = "study: a\nexperiment: toy\n"


def error_of(tmp_path: Path, text: str, scale: str | None = None, sets: tuple[str, ...] = ()) -> str:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load(path, scale, sets).check(Toy())
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"s\.yaml:1: there is nothing in it; begin with e\.g\. study: my-study"),
        ("- a\n", r"s\.yaml:1: a study is a mapping"),
        ("study: a\n", r"s\.yaml: the key 'experiment' is missing; add e\.g\. experiment: pandax2"),
        ("study: My Study\nexperiment: toy", r"s\.yaml:1: study: .*not 'My Study'; write my-study"),
        (HEAD + "repeat: 5", r"s\.yaml:3: repeat: a study has no key 'repeat'; did you mean 'repeats'"),
        (HEAD + "repeats: five", r"s\.yaml:3: repeats: must be an integer from 1 up, not the text 'five'"),
        (HEAD + "repeats: 1e1", r"repeats: must be an integer from 1 up, not the number 10\.0; write 10"),
        (HEAD + "repeats: true", r"repeats: must be an integer from 1 up, not true"),
        (HEAD + "repeats:", r"repeats: must be an integer from 1 up, not nothing \(null\)"),
        (HEAD + "folds: 0", r"folds: must be an integer from 1 up, not the number 0"),
        (HEAD + "seed: -1", r"seed: must be an integer from 0 up"),
        (HEAD + "study: b", r"s\.yaml:3: study: is given twice \(first on line 1\)"),
        (HEAD + "---\nb: 1", r"s\.yaml:3: is not one YAML document: .*another document"),
        (HEAD + "seed: !!int 5", r"s\.yaml:3: tags \(!name\) are not read"),
        (HEAD + "seed: !include x", r"s\.yaml:3: tags"),
        ("%YAML 1.1\n---\n" + HEAD, r"s\.yaml:1: directives"),
        (HEAD + "<<: {a: 1}", r"s\.yaml:3: merge keys"),
        (HEAD + "? [1]\n: 2", r"s\.yaml:3: a key must be text"),
        (HEAD + "seed: [1,", r"s\.yaml:3: is not one YAML document"),
        (HEAD + "seed: *x", r"s\.yaml:3: .*undefined alias 'x'"),
        (HEAD + "fixed: &x {train: *x}", r"s\.yaml:3: fixed\.train: contains itself"),
        (HEAD + "fixed:\n\t- 5", r"s\.yaml:4: is not one YAML document"),
        (HEAD + "seed: " + "9" * 5000, r"s\.yaml:3: seed: is a number of 5000 digits"),
        (HEAD + "seed: \x07", r"s\.yaml: is not YAML: unacceptable character"),
        (HEAD + "seed: " + "[" * 500 + "]" * 500, r"s\.yaml: is nested too deeply"),
        (HEAD + "fixed: {train.epochs: .nan}", r"s\.yaml:3: fixed\.train\.epochs: must be a finite number, not \.nan"),
        (HEAD + "fixed: {train.epochs: 1e999}", r"must be a finite number, not 1e999"),
        (HEAD + "fixed: {epochs: 5}", r"fixed\.epochs: 'epochs' is no parameter; names begin with data\., model\., train\."),
        (HEAD + "fixed: {train.a: [{b: 1}]}", r"fixed\.train\.a: must be a number, text"),
        (HEAD + "fixed: {train.a: 1, train: {a: 2}}", r"fixed\.train\.a: train\.a is given twice; it is also at .*s\.yaml:3"),
        (HEAD + "fixed: 5", r"fixed: must be a mapping \(key: value\), not the number 5"),
        (
            HEAD + "fixed: {train: {epoch: 3}}",
            r"s\.yaml:3: fixed\.train\.epoch: .*no parameter 'train\.epoch'; did you mean 'train\.epochs'",
        ),
        (HEAD + "fixed: {train.epochs: [1]}", r"fixed\.train\.epochs: must be an integer like the default 5, not \[1\]"),
        (HEAD + "fixed: {train.epochs: true}", r"must be an integer like the default 5, not true"),
        (HEAD + "fixed: {train.epochs: 2.0}", r"must be an integer like the default 5, not 2\.0"),
        (HEAD + "fixed: {train.epochs: 0}", r"fixed\.train\.epochs: must be at least 1, not 0"),
        (HEAD + "fixed: {train.learning_rate: '1e-3'}", r"must be a number like the default 0\.001, not '1e-3'"),
        (HEAD + "fixed: {train.learning_rate: 0}", r"must be above 0, not 0"),
        (HEAD + "fixed: {train.beta1: 1.0}", r"must be from 0 to below 1, not 1\.0"),
        (HEAD + "fixed: {train.optimizer: adm}", r"must be adam, adamw, sgd or rmsprop, not 'adm'; did you mean 'adam'"),
        (HEAD + "fixed: {model.hidden: 8}", r"must be a list, each entry an integer, like the default \[8\], not 8"),
        (HEAD + "fixed: {model.hidden: [8, 4.0]}", r"must be a list, each entry an integer"),
        (
            HEAD + "space: {model.hidden: [[8], [4]]}",
            r"space\.model\.hidden: an axis is a mapping, not a list; write e\.g\. \{choice",
        ),
        (HEAD + "space: {model.hidden: {choices: [8]}}", r"exactly one of choice, int, float; this one has choices"),
        (HEAD + "space: {model.hidden: {choice: 8}}", r"space\.model\.hidden\.choice: a choice is a list of values"),
        (HEAD + "space: {model.hidden: {choice: []}}", r"space\.model\.hidden\.choice: needs at least one value"),
        (
            HEAD + "space: {model.dropout: {float: [0.5, 0.1]}}",
            r"s\.yaml:3: space\.model\.dropout\.float: .* is upside down; write float: \[0\.1, 0\.5\]",
        ),
        (HEAD + "space: {model.dropout: {float: [0.5]}}", r"must be \[low, high\]"),
        (
            HEAD + "space: {model.dropout: {float: [0.1, 0.5], logs: true}}",
            r"dropout\.logs: there is no 'logs' here; did you mean 'log'",
        ),
        (HEAD + "space: {model.dropout: {int: [0, 1], steps: 2}}", r"dropout\.steps: there is no 'steps' here"),
        (
            HEAD + "space: {train.epochs: {float: [1, 5]}}",
            r"space\.train\.epochs: must be an integer like the default 5, not 1\.0",
        ),
        (HEAD + "space: {train.epochs: {int: [0, 5]}}", r"space\.train\.epochs: must be at least 1, not 0"),
        (HEAD + "space: {model.hidden: {choice: [[8], x]}}", r"space\.model\.hidden: must be a list"),
        (HEAD + "space: {model.widths: {choice: [8]}}", r"s\.yaml:3: space\.model\.widths: .*no parameter 'model\.widths'"),
        (
            HEAD + "space:\n  model.dropout: {float: [0, 1], when: {model.hiden: A}}\n  model.hidden: {choice: {A: [8]}}",
            r"s\.yaml:4: space\.model\.dropout\.when: 'model\.hiden' is not an axis.*did you mean 'model\.hidden'",
        ),
        (
            HEAD + "space:\n  model.dropout: {float: [0, 1], when: {model.hidden: B}}\n  model.hidden: {choice: {A: [8]}}",
            r"s\.yaml:4: space\.model\.dropout\.when\.model\.hidden: B is no value of model\.hidden.*it has A",
        ),
        (
            HEAD + "fixed: {model.dropout: 0.1}\nspace:\n  model.dropout: {float: [0, 1]}",
            r"s\.yaml:3: fixed\.model\.dropout: model\.dropout is fixed and in the space; it is also at .*s\.yaml:5",
        ),
        (HEAD + "split: {train: 0.8, validation: 0.3}", r"s\.yaml:3: split: .* sum to 1, not 0\.8 \+ 0\.3 \+ 0\.1"),
        (HEAD + "split: {train: 1, validation: 0, test: 0}", r"split: train and validation must be above 0"),
        (HEAD + "split: {train: a}", r"split\.train: must be a number, not the text 'a'"),
        (HEAD + "split: {valid: 0.1}", r"split\.valid: there is no 'valid' here; did you mean 'validation'"),
        (HEAD + "statistic: maen", r"statistic: must be one of mean, median, min, not the text 'maen'; did you mean 'mean'"),
        (HEAD + "keep: {scores: none}", r"keep\.scores: must be one of all, kept, best"),
        (HEAD + "execution: {backend: ray}", r"execution\.backend: must be one of ray_tune, local"),
        (HEAD + "execution: {workers: many}", r"execution\.workers: must be an integer from 1 up"),
        (HEAD + "execution: {cpus: 0}", r"execution\.cpus: must be above 0"),
        (HEAD + "execution: {gpus: -1}", r"execution\.gpus: must be at least 0"),
        (HEAD + "searcher: {random: {configs: 3}, grid: {}}", r"searcher: must be one name with its options, not 2 names"),
        (HEAD + "searcher: 5", r"searcher: must be a name, not the number 5"),
        (HEAD + "figures_of_merit: roc_auc", r"figures_of_merit: must be a list"),
        (HEAD + "figures_of_merit: [roc_auc, 5]", r"figures_of_merit\[1\]: must be a name"),
        (HEAD + "folds: 2000", r"folds: 2000 folds of 1000 events leave less than two in each; at most 450"),
        (HEAD + "fixed: {data.events: 10}", r"validation gets 1\.0 of 10 events; raise data\.events"),
        (HEAD + "scale: {demo: {repeat: 1}}", r"s\.yaml:3: scale\.demo\.repeat: a study has no key 'repeat'"),
        (HEAD + "scale: {demo: {repeats: x}}", r"s\.yaml:3: scale\.demo\.repeats: must be an integer"),
        (HEAD + "scale: {demo: {scale: {}}}", r"scale\.demo\.scale: a study has no key 'scale'"),
        (HEAD + "scale: 5", r"scale: must be a mapping"),
    ],
    ids=itertools.count(),
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    assert re.match(message if message.startswith("s") and "yaml" in message[:8] else f".*{message}", error_of(tmp_path, text))


def test_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    lines = ["x0: &x0 [1, 1]"] + [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "holds more than 100000 values" in error_of(tmp_path, HEAD + "\n".join(lines))


def test_an_unknown_scale_lists_those_that_exist(tmp_path: Path) -> None:
    text = HEAD + "scale: {demo: {}, paper: {}}"
    assert error_of(tmp_path, text, scale="dem") == "s.yaml: has no scale 'dem'; did you mean 'demo'?"
    assert error_of(tmp_path, text, scale="x") == "s.yaml: has no scale 'x'; known here: demo, paper"
    assert error_of(tmp_path, HEAD, scale="demo").endswith("this study has none: leave --scale out")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("repeats", "--set repeats: must be PATH=VALUE; write e.g. --set repeats=5"),
        ("repeats=", "--set repeats=: must be PATH=VALUE"),
        ("=5", "--set =5: must be PATH=VALUE"),
        ("repeat=4", "--set repeat=4: 'repeat' is no place of a study; did you mean 'repeats'?"),
        ("trian.epochs=4", "--set trian.epochs=4: 'trian' is no place of a study; did you mean 'train'?"),
        ("repeats=x", "--set repeats=x: repeats: must be an integer from 1 up"),
        ("repeats.x=3", "--set repeats.x=3: repeats.x: must be an integer from 1 up, not a mapping"),
        ("train.epoch=3", "--set train.epoch=3: fixed.train.epoch: experiment 'toy' has no parameter 'train.epoch'; did you"),
        ("train=3", "--set train=3: fixed.train: 'train' is no parameter"),
        ("train.epochs=[", "--set train.epochs=[: is not one YAML document"),
        ("scale.demo=1", "--set scale.demo=1: 'scale' is no place of a study"),
        ("keep.wieghts=best", "--set keep.wieghts=best: keep.wieghts: there is no 'wieghts' here; did you mean 'weights'?"),
        ("space.model.hidden.choice=3", "--set space.model.hidden.choice=3: "),
        ("repeats=\n5\n6", "--set repeats= 5 6: repeats: must be an integer"),
    ],
)
def test_a_mistake_in_set_is_named(tmp_path: Path, line: str, message: str) -> None:
    assert error_of(tmp_path, HEAD, sets=(line,)).startswith(message)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml: there is no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"study: \xff")
    with pytest.raises(SpecError, match=r"is not UTF-8 text \(byte 7\)"):
        load(tmp_path / "b.yaml")


def test_an_unknown_experiment_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("study: a\nexperiment: tyo\n")
    with pytest.raises(PluginError, match=r"s\.yaml:2: experiment: tyo: is not one of the experiments; did you mean 'toy'"):
        load(path).load_experiment()


def test_studies_made_in_python_are_held_to_the_same_rules() -> None:
    for spec, message in [
        (StudySpec("a", "toy", repeats=0), "repeats: must be an integer from 1 up, not 0"),
        (StudySpec("a", "toy", folds=True), "folds: must be an integer from 1 up, not True"),
        (StudySpec("a", "toy", fixed={"train.epoch": 3}), "fixed.train.epoch: experiment 'toy' has no parameter"),
    ]:
        with pytest.raises(SpecError, match=message):
            spec.check(Toy())
