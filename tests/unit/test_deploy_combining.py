"""Combinations in torch, and in ONNX, equal those of the ensembles in NumPy."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raresearch.ensembles.calibrate import calibrate
from raresearch.ensembles.combine import combine

torch = pytest.importorskip("torch")

from raresearch.deploy.combining import calibrated, combined, count_below  # noqa: E402

LOGIT = st.floats(-40, 40, width=32)


def tensors(*arrays):
    return [torch.tensor(np.asarray(a, dtype=np.float64)) for a in arrays]


@settings(max_examples=60, deadline=None)
@given(st.lists(LOGIT, min_size=1, max_size=40), st.lists(LOGIT, max_size=20), st.booleans())
def test_counting_by_halves_equals_searchsorted(known, x, through):
    known = np.sort(known)
    x = np.asarray([*x, *known[:3]], dtype=np.float64)
    counted = count_below(*tensors(known, x), through=through)
    np.testing.assert_array_equal(counted.numpy(), np.searchsorted(known, x, "right" if through else "left"))


@pytest.mark.parametrize("name", ["scores", "logits", "median", "ranks", "weighted"])
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.booleans())
def test_every_combination_equals_its_numpy_twin(name, seed, m, equal):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=6, size=(m, 30)).astype(np.float32)
    logits[:, :5] = np.rint(logits[:, :5])  # ties
    weights = np.ones(m) if equal else rng.random(m) + 0.01
    references = [np.rint(rng.normal(scale=6, size=17)).astype(np.float32) for _ in range(m)]
    expected = combine(name, logits, weights, references)
    made = combined(name, *tensors(logits, weights / weights.sum()), tensors(*(np.sort(r) for r in references)))
    np.testing.assert_allclose(made.numpy(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["isotonic", "temperature", "platt"])
def test_every_calibration_equals_its_numpy_twin(kind):
    rng = np.random.default_rng(5)
    label = rng.integers(0, 2, 400).astype(np.int8)
    scores = np.clip(0.3 * label + 0.7 * rng.random(400), 0, 1)
    calibration = calibrate(kind, scores, label, np.ones(400))
    x = np.r_[0.0, 1.0, 1e-18, scores, rng.random(200)]
    np.testing.assert_allclose(calibrated(calibration, *tensors(x)).numpy(), calibration(x), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scores", "logits", "median", "ranks", "isotonic", "platt"])
def test_every_combination_survives_onnx(name):
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    rng = np.random.default_rng(1)
    # Equal weights of an even number: half the weight lies below the middle exactly, which float32 constants would miss.
    weights, references = np.ones(4) if name == "median" else rng.random(4) + 0.1, [rng.normal(size=11) for _ in range(4)]
    label = rng.integers(0, 2, 200).astype(np.int8)
    calibration = None
    if name in ("isotonic", "platt"):
        calibration = calibrate(name, np.clip(0.4 * label + 0.6 * rng.random(200), 0, 1), label, np.ones(200))
    how = "scores" if calibration else name

    class Combining(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weights", torch.tensor(weights / weights.sum()))
            for i, r in enumerate(references):
                self.register_buffer(f"r{i}", torch.tensor(np.sort(r)))

        def forward(self, logits_NM):
            scores = combined(how, logits_NM.T, self.weights, [self.r0, self.r1, self.r2, self.r3])
            return scores if calibration is None else calibrated(calibration, scores)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.zeros(5, 4, dtype=torch.float64),)
        program = torch.export.export(Combining().eval(), example, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        made = torch.onnx.export(program, (), dynamo=True, verbose=False, input_names=["x"], output_names=["score"])
    session = ort.InferenceSession(made.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    logits = rng.normal(scale=3, size=(4, 101))
    logits[:, 0] = 60  # a score of 1 to the last bit: its logit must be cut off as the twin cuts it
    expected = combine(how, logits, weights, references)
    expected = expected if calibration is None else calibration(expected)
    for n in (101, 1):
        scores = session.run(["score"], {"x": np.ascontiguousarray(logits[:, :n].T)})[0]
        np.testing.assert_allclose(scores, expected[:n], rtol=0, atol=1e-12)
