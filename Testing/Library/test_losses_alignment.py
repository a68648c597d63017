"""The alignment losses against slow, obvious references and at the edges that training meets; the weighted total.

The edges: one class present, none, a class seen twice, no text, half precision.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from BiPVLSegLib.losses import AlignmentLoss, GlobalAlignmentLoss, LocalAlignmentLoss, UncertaintyWeightedSum
from BiPVLSegLib.losses.alignment import weighted_concepts


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


# ---------------------------------------------------------------- references: Python loops, float64


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    exponentials = [math.exp(value - top) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def reference_info_nce(left, right, ids, temperature, hard=0, weight=1.0, largest=True) -> float:
    """Symmetric InfoNCE of two lists of vectors; ``hard`` most similar wrong pairs count ``weight`` times."""
    if len(set(ids)) < 2:
        return 0.0
    total = []
    for a, b in ((left, right), (right, left)):
        for i in range(len(a)):
            wrong = sorted((cosine(a[i], b[j]) for j in range(len(b)) if ids[j] != ids[i]), reverse=largest)
            weights = [weight if rank < hard else 1.0 for rank in range(len(wrong))]
            right_pair = math.exp(cosine(a[i], b[i]) / temperature)
            against = sum(w * math.exp(s / temperature) for w, s in zip(weights, wrong, strict=True))
            total.append(-math.log(right_pair / (right_pair + against)))
    return sum(total) / len(total)


def reference_global(visual, concepts, mask, ids, temperature=0.2) -> float:
    visual, concepts = visual.double().numpy(), concepts.double().numpy()
    rows = [m for m in range(len(visual)) if mask[m].any()]
    texts = []
    for m in rows:
        has = [k for k in range(concepts.shape[1]) if mask[m, k]]
        weights = softmax([cosine(concepts[m, k], visual[m]) for k in has])
        texts.append(sum(w * concepts[m, k] for w, k in zip(weights, has, strict=True)))
    return reference_info_nce([visual[m] for m in rows], texts, [int(ids[m]) for m in rows], temperature)


def reference_local(visual, concepts, mask, ids, temperature=0.2, hard=3, weight=2.0, largest=True) -> float:
    visual, concepts = visual.double().numpy(), concepts.double().numpy()
    per_concept = []
    for k in range(concepts.shape[1]):
        rows = [m for m in range(len(visual)) if mask[m, k]]
        row_ids = [int(ids[m]) for m in rows]
        if len(set(row_ids)) > 1:
            pair = [visual[m] for m in rows], [concepts[m, k] for m in rows]
            per_concept.append(reference_info_nce(*pair, row_ids, temperature, hard, weight, largest))
    return sum(per_concept) / len(per_concept) if per_concept else 0.0


def check_finite(loss: torch.Tensor, *inputs: torch.Tensor) -> None:
    assert loss.dtype == torch.float32 and loss.ndim == 0
    assert torch.isfinite(loss)
    loss.backward()
    for tensor in inputs:
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all()


# ---------------------------------------------------------------- alignment


def aligned_inputs(rows: int = 6, n_concepts: int = 4, width: int = 8) -> tuple[torch.Tensor, ...]:
    mask = torch.rand(rows, n_concepts) > 0.3
    mask[:, 0] = True
    ids = torch.tensor([0, 1, 2, 3, 0, 2, 4, 5])[:rows]
    return torch.randn(rows, width), 3 * torch.randn(rows, n_concepts, width), mask, ids


def test_global_alignment_equals_the_reference() -> None:
    visual, concepts, mask, ids = aligned_inputs()
    mask[3] = False  # a class without any text takes no part
    loss = GlobalAlignmentLoss().eval()
    assert loss(visual, concepts, mask, ids).item() == pytest.approx(
        reference_global(visual, concepts, mask, ids), rel=1e-5
    )
    everything = loss(visual, concepts)
    expected = reference_global(visual, concepts, torch.ones_like(mask), torch.arange(6))
    assert everything.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("hard", "weight"), [(3, 2.0), (1, 5.0), (0, 2.0), (3, 1.0), (50, 2.0)])
def test_local_alignment_equals_the_reference(hard: int, weight: float) -> None:
    visual, concepts, mask, ids = aligned_inputs()
    mask[:, 3] = False
    mask[[0, 4], 3] = True  # only one class, seen twice, has concept 3: nothing to contrast
    loss = LocalAlignmentLoss(hard_negatives=hard, hard_weight=weight)
    expected = reference_local(visual, concepts, mask, ids, hard=hard, weight=weight)
    assert loss(visual, concepts, mask, ids).item() == pytest.approx(expected, rel=1e-5)


def test_the_hard_negatives_are_the_most_similar_ones() -> None:
    visual, concepts, mask, ids = aligned_inputs(rows=8)
    ids = torch.arange(8)
    hardest = reference_local(visual, concepts, mask, ids, hard=2, weight=3.0)
    easiest = reference_local(visual, concepts, mask, ids, hard=2, weight=3.0, largest=False)
    assert hardest > easiest + 0.1
    loss = LocalAlignmentLoss(hard_negatives=2, hard_weight=3.0)(visual, concepts, mask, ids)
    assert loss.item() == pytest.approx(hardest, rel=1e-5)


def test_alignment_is_the_sum_of_the_parts_switched_on() -> None:
    inputs = aligned_inputs()
    parts = GlobalAlignmentLoss().eval()(*inputs), LocalAlignmentLoss()(*inputs)
    assert AlignmentLoss().eval()(*inputs).item() == pytest.approx((parts[0] + parts[1]).item(), rel=1e-6)
    assert AlignmentLoss(use_local=False).eval()(*inputs).item() == pytest.approx(parts[0].item(), rel=1e-6)
    assert AlignmentLoss(use_global=False).eval()(*inputs).item() == pytest.approx(parts[1].item(), rel=1e-6)
    with pytest.raises(ValueError, match="needs its global part"):
        AlignmentLoss(use_global=False, use_local=False)


def test_one_class_in_two_samples_is_not_its_own_negative() -> None:
    """Two rows of one class with the same embeddings: as negatives of each other they would cost log 2."""
    base = 3 * torch.eye(4)
    visual, ids = torch.cat([base, base[:1]]), torch.tensor([0, 1, 2, 3, 0])
    concepts = visual[:, None].repeat(1, 3, 1)
    loss = AlignmentLoss(temperature=0.05).eval()
    assert loss(visual, concepts, class_ids=ids).item() < 1e-6
    assert loss(visual, concepts).item() > 0.2


def test_masked_concepts_are_never_read() -> None:
    visual, concepts, mask, ids = aligned_inputs()
    loss = AlignmentLoss().eval()
    before = loss(visual, concepts, mask, ids)
    spoilt = concepts.masked_fill(~mask.unsqueeze(2), float("nan")).requires_grad_()
    after = loss(visual, spoilt, mask, ids)
    assert after.item() == pytest.approx(before.item(), rel=1e-6)
    check_finite(after, spoilt)
    assert (spoilt.grad[~mask] == 0).all()


def test_concept_weights_sum_to_one_over_the_concepts_there_are() -> None:
    visual, concepts, mask, _ = aligned_inputs()
    same = concepts[:, :1].expand_as(concepts)
    torch.testing.assert_close(weighted_concepts(visual, same, mask), concepts[:, 0])


def test_permuting_rows_or_concepts_leaves_the_alignment_unchanged() -> None:
    visual, concepts, mask, ids = aligned_inputs()
    loss, rows, columns = AlignmentLoss().eval(), torch.randperm(6), torch.randperm(4)
    permuted = loss(visual[rows], concepts[rows][:, columns], mask[rows][:, columns], ids[rows])
    assert permuted.item() == pytest.approx(loss(visual, concepts, mask, ids).item(), rel=1e-5)


def test_noise_only_while_training() -> None:
    inputs = aligned_inputs()
    loss = GlobalAlignmentLoss(noise=0.3)
    quiet = GlobalAlignmentLoss(noise=0.0)(*inputs).item()
    assert abs(loss(*inputs).item() - quiet) > 1e-3
    assert loss(*inputs).item() != loss(*inputs).item()
    assert loss.eval()(*inputs).item() == pytest.approx(quiet, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "case", ["none", "one", "one class twice", "no text", "two", "equal", "zero", "zero visual", "huge"]
)
def test_alignment_is_finite_at_the_edges(case: str, dtype: torch.dtype) -> None:
    rows = {"none": 0, "one": 1}.get(case, 2)
    visual, concepts = torch.randn(rows, 8), torch.randn(rows, 3, 8)
    mask, ids = torch.ones(rows, 3, dtype=torch.bool), torch.arange(rows)
    if case == "one class twice":
        ids[:] = 7
    elif case == "no text":
        mask[:] = False
    elif case == "equal":
        visual[1], concepts[:] = visual[0], visual[0]
    elif case == "zero":
        visual[:], concepts[:] = 0, 0
    elif case == "zero visual":  # the steepest place: a cosine turns around within a tiny step
        visual[:] = 0
    elif case == "huge":
        visual, concepts = visual * 1e4, concepts * 1e4
    visual, concepts = visual.to(dtype).requires_grad_(), concepts.to(dtype).requires_grad_()
    loss_function = AlignmentLoss(noise=0.0)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = loss_function(visual, concepts, mask, ids)
    check_finite(loss, visual, concepts)
    if case in ("none", "one", "one class twice", "no text"):
        assert loss.item() == 0
        assert (visual.grad == 0).all() and (concepts.grad == 0).all()
    else:
        float32 = loss_function(visual.detach().float(), concepts.detach().float(), mask, ids)
        assert loss.item() == pytest.approx(float32.item(), rel=1e-6)
    if case in ("equal", "zero"):  # nothing tells the two apart: log 2 globally, log(1 + 2) with the hard one twice
        assert loss.item() == pytest.approx(math.log(2) + math.log(3), rel=1e-5)


def test_alignment_refuses_shapes_that_do_not_fit() -> None:
    visual, concepts, mask, ids = aligned_inputs()
    with pytest.raises(ValueError, match="differ in rows or width"):
        AlignmentLoss()(visual[1:], concepts, mask, ids)
    with pytest.raises(ValueError, match="need concept_mask"):
        AlignmentLoss()(visual, concepts, mask[:, 1:], ids)
    with pytest.raises(ValueError, match="hard_weight"):
        LocalAlignmentLoss(hard_weight=0)


# ---------------------------------------------------------------- gradients


def test_gradients_equal_finite_differences() -> None:
    visual, concepts, has, ids = aligned_inputs(rows=5, n_concepts=3, width=4)
    has[2] = False
    visual, concepts = visual.double().requires_grad_(), concepts.double().requires_grad_()
    loss = AlignmentLoss(hard_negatives=2).eval()
    assert torch.autograd.gradcheck(lambda v, c: loss(v, c, has, ids), (visual, concepts))


# ---------------------------------------------------------------- total


def test_total_is_weighted_by_learned_uncertainty() -> None:
    total = UncertaintyWeightedSum(["segmentation", "class_embedding", "alignment"])
    parameters = dict(total.named_parameters())
    assert len(parameters) == 3 and all(p.item() == 0 for p in parameters.values())
    with torch.no_grad():
        total.log_variances["segmentation"].fill_(0.7)
        total.log_variances["alignment"].fill_(-0.4)
    segmentation = torch.tensor(2.0, requires_grad=True)
    value, log = total({"segmentation": segmentation, "alignment": torch.tensor(3.0, dtype=torch.float16)})
    expected = 2.0 / (2 * math.exp(0.7)) + 0.7 + 3.0 / (2 * math.exp(-0.4)) - 0.4
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert {name: round(float(x), 4) for name, x in log.items()} == {
        "segmentation": 2.0,
        "s_segmentation": 0.7,
        "alignment": 3.0,
        "s_alignment": -0.4,
        "total": round(expected, 4),
    }
    assert not any(x.requires_grad for x in log.values())
    value.backward()
    assert segmentation.grad.item() == pytest.approx(1 / (2 * math.exp(0.7)), rel=1e-6)
    gradient = total.log_variances["segmentation"].grad.item()
    assert gradient == pytest.approx(1 - 2.0 / (2 * math.exp(0.7)), rel=1e-5)


def test_a_missing_loss_leaves_its_uncertainty_alone() -> None:
    total = UncertaintyWeightedSum(["segmentation", "alignment"])
    optimizer = torch.optim.AdamW(total.parameters(), lr=0.1)
    total({"segmentation": torch.tensor(5.0), "alignment": torch.tensor(5.0)})[0].backward()
    optimizer.step()
    optimizer.zero_grad()
    before = {name: s.item() for name, s in total.log_variances.items()}
    value, log = total({"segmentation": torch.tensor(5.0), "alignment": None})
    value.backward()
    optimizer.step()
    assert total.log_variances["alignment"].item() == before["alignment"]
    assert total.log_variances["segmentation"].item() != before["segmentation"]
    assert set(log) == {"segmentation", "s_segmentation", "total"}


def test_total_refuses_what_it_does_not_know() -> None:
    total = UncertaintyWeightedSum(["segmentation"])
    with pytest.raises(ValueError, match="unknown losses"):
        total({"segmentatoin": torch.tensor(1.0)})
    with pytest.raises(ValueError, match="no loss was given"):
        total({"segmentation": None})
