"""One YAML document is one study.

    study: pandax2-mlp              # a-z, 0-9 and hyphens
    experiment: pandax2             # name | package.module:Name | ./file.py:Name (from the YAML's folder)
    seed: 2301                      # the study's seed, from 0 up
    fixed:                          # values for all configs; nested mappings and dotted names are the same
      data.events: 60000
    space:                          # one axis for each name; see `raresearch.space`
      model.hidden: {choice: {4A: [32, 16, 8, 8], 4B: [32, 16, 16, 8]}}     # or a list without labels
      train.learning_rate: {float: [1.0e-5, 1.0e-2], log: true}             # steps: 5 makes it discrete
      model.layers: {int: [1, 4]}
      model.dropout: {float: [0.0, 0.5], when: {model.layers: [2, 3]}}      # exists only there
    searcher: {random: {configs: 50}}   # a name, or {name: {option: value}}
    repeats: 100                    # trainings of each config and fold, each with its own seed
    folds: 1                        # 1: the validation split; k >= 2: cross-validation over train + validation
    split: {train: 0.8, validation: 0.1, test: 0.1}
    objective: {significance: {n_signal: 976, n_background: 976}}   # figure of merit that the searcher is told
                                    # or two: objective: [roc_auc, {rejection: {acceptance: 0.9}}], which nsga2, grid, random take
    statistic: mean                 # mean | median | min over a config's cells
    figures_of_merit: [roc_auc, {rejection: {acceptance: 0.9}}]     # also reported
    selection: {best_epoch: {by: val_loss}}
    keep: {scores: all, weights: best}      # scores: all | kept | best; weights: kept | best | none
    execution: {backend: ray_tune, workers: auto, cpus: 1, gpus: 0, retries: 3}
                                    # cell_seconds: 3600, worker_memory: 8 (GiB): a cell that takes more has failed
                                    # data: auto | resident | mapped | streamed, data_memory: 64 (GiB of a node, for events)
                                    # cell_workers: 2: so many train one cell together (train.micro_batches: 2 or more)
                                    # room_seconds: 60: a cluster without room for all of them for so long: half of them go on
                                    # checkpoint_seconds: 300: how often half-trained cells are kept; null: never
    racing: {level: 0.05}           # further folds and seeds only for configs that could still be the best
    stopping: {rule: halving, rungs: [5, 15], keep: 0.33, by: val_loss}   # configs that are behind train no further
                                    # rule: halving | median (without keep); by: objective | val_loss | val_accuracy
    stages:                         # overlays, one after another; each trains the best configs of the one before
      search: {fixed: {data.events: 30000}}
      refit: {best: 1, repeats: 6, folds: 1, selection: {last_k: {k: 10}}}
    scale:                          # overlays; `--scale demo` lays one over the document
      demo: {repeats: 3, fixed: {data.events: 20000}}

Only `study` and `experiment` are needed. A mistake is one line: "file:line: dotted.path: rule; remedy".
"""

from raresearch.spec.parts import Component, ExecutionSpec, Racing, Retention, SplitSpec, Stage, Stopping
from raresearch.spec.reader import parse_value
from raresearch.spec.study import Origin, StudySpec, load, scales

__all__ = [
    "Component",
    "ExecutionSpec",
    "Origin",
    "Racing",
    "Retention",
    "SplitSpec",
    "Stage",
    "Stopping",
    "StudySpec",
    "load",
    "parse_value",
    "scales",
]
