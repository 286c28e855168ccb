"""A search may vary what the events are: each new value is prepared, kept and scored while the search goes on."""

from pathlib import Path

import raresearch as rs

STUDY = """
study: data-search
experiment: toy
seed: 5
fixed: {data.events: 1500, train.epochs: 5, train.batch_size: 32}
space:
  data.separation: {float: [0.5, 3.0]}
searcher: {skopt: {configs: 4, initial: 2}}
objective: roc_auc
execution: {backend: local}
"""


def test_each_value_of_a_searched_data_axis_has_its_own_events(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(STUDY)
    study = rs.run(tmp_path / "search.yaml", out=tmp_path / "run")
    rows = study.cells().to_pylist()
    assert [row["state"] for row in rows] == ["done"] * 4
    assert len({row["validation_events"] for row in rows}) == 4
    found = study.findings().every
    assert len(found) == 4
    separations = [each.config["data.separation"] for each in found.values()]
    assert len(set(separations)) == 4
    # Wider apart is easier; the events of one value must not be taken for those of another.
    auc = {c["data.separation"]: study.select(configs=[label]).estimate("roc_auc").value for label, c in
           ((label, each.config) for label, each in found.items())}  # fmt: skip
    assert auc[max(auc)] > auc[min(auc)]
