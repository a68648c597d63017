"""Contrastive losses that bring a class's visual embedding and the embeddings of its text together.

Source: BiPVL-Seg, global and local alignment. Rows are the classes present in the patches of a batch: an absent class
has no visual embedding worth aligning, so the caller leaves it out.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from BiPVLSegLib.losses.precision import full_precision

# Shorter vectors count as this long, which bounds the gradient of a zero vector to what float16 can hold.
SHORTEST = 1e-3


class GlobalAlignmentLoss(nn.Module):
    """Symmetric InfoNCE between {v_c} and {t_c}, where t_c is the concepts' sum weighted by softmax_k(cos(t_ck, v_c)).

    Args:
        temperature: cosines are divided by it.
        noise: standard deviation of the Gaussian noise on v_c and t_c, in training mode only.
    """

    def __init__(self, temperature: float = 0.2, noise: float = 0.01) -> None:
        super().__init__()
        self.temperature = temperature
        self.noise = noise

    @full_precision
    def forward(
        self,
        visual: torch.Tensor,
        concepts: torch.Tensor,
        concept_mask: torch.Tensor | None = None,
        class_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss as a float32 scalar; exactly 0, with a graph, where there is nothing to tell apart.

        Args:
            visual: (M, E), one row per class present in a sample.
            concepts: (M, K, E), the same classes' concept embeddings.
            concept_mask: (M, K) bool, False for a concept that the class does not have. A row without any is left out.
            class_ids: (M,) integers; rows with equal ids are the same class in different samples and never negatives of
                each other. None: all rows differ.
        """
        visual, concepts, concept_mask, negative = _prepare(visual, concepts, concept_mask, class_ids)
        text = weighted_concepts(visual, concepts, concept_mask)
        if self.training and self.noise > 0:
            visual = visual + self.noise * torch.randn_like(visual)
            text = text + self.noise * torch.randn_like(text)
        cosines = _unit(visual) @ _unit(text).T
        loss = symmetric_info_nce(cosines[None] / self.temperature, concept_mask.any(dim=1)[None], negative)
        return loss + _attach(visual, concepts)


class LocalAlignmentLoss(nn.Module):
    """Per concept k a symmetric InfoNCE between {v_c} and {t_ck}, with the most similar wrong pairs weighing extra.

    In the denominator of each row, and of each column, the ``hard_negatives`` wrong pairs with the highest cosine count
    ``hard_weight`` times: -log(e^s_ii / (e^s_ii + sum_j w_ij e^s_ij)). Mean over the concepts for which at least two
    different classes are there to compare. The paper gives the number of hard negatives, 3; we know of no stated
    weight. Its released program adds the log-sum-exp of three cosines with weight 1 as a separate term, but picks the
    least similar pairs; weights inside the denominator keep the loss at or above 0 and leave a perfect alignment at
    rest.

    Args:
        temperature: cosines are divided by it.
        hard_negatives: how many of the most similar wrong pairs per row; 0 for none.
        hard_weight: how often each counts; 1 gives plain InfoNCE.
    """

    def __init__(self, temperature: float = 0.2, hard_negatives: int = 3, hard_weight: float = 2.0) -> None:
        super().__init__()
        if hard_weight <= 0:
            raise ValueError(f"hard_weight must be above 0, not {hard_weight}")
        self.temperature = temperature
        self.hard_negatives = hard_negatives
        self.hard_weight = hard_weight

    @full_precision
    def forward(
        self,
        visual: torch.Tensor,
        concepts: torch.Tensor,
        concept_mask: torch.Tensor | None = None,
        class_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Arguments and result as in ``GlobalAlignmentLoss.forward``; concept k contrasts the classes that have it."""
        visual, concepts, concept_mask, negative = _prepare(visual, concepts, concept_mask, class_ids)
        cosines = torch.einsum("ie,jke->kij", _unit(visual), _unit(concepts))
        loss = symmetric_info_nce(
            cosines / self.temperature, concept_mask.T, negative, self.hard_negatives, self.hard_weight
        )
        return loss + _attach(visual, concepts)


class AlignmentLoss(nn.Module):
    """L_align = L_global + L_local, each of which can be switched off (the paper's ablations).

    Raises:
        ValueError: both are switched off.
    """

    def __init__(
        self,
        use_global: bool = True,
        use_local: bool = True,
        temperature: float = 0.2,
        noise: float = 0.01,
        hard_negatives: int = 3,
        hard_weight: float = 2.0,
    ) -> None:
        super().__init__()
        if not (use_global or use_local):
            raise ValueError("an alignment loss needs its global part, its local part or both")
        self.parts = nn.ModuleList()
        if use_global:
            self.parts.append(GlobalAlignmentLoss(temperature, noise))
        if use_local:
            self.parts.append(LocalAlignmentLoss(temperature, hard_negatives, hard_weight))

    def forward(
        self,
        visual: torch.Tensor,
        concepts: torch.Tensor,
        concept_mask: torch.Tensor | None = None,
        class_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Arguments and result as in ``GlobalAlignmentLoss.forward``."""
        return sum(part(visual, concepts, concept_mask, class_ids) for part in self.parts)


def weighted_concepts(visual: torch.Tensor, concepts: torch.Tensor, concept_mask: torch.Tensor) -> torch.Tensor:
    """Class text embeddings t_c (M, E): sum of the concepts weighted by softmax_k(cos(t_ck, v_c)), masked ones out."""
    cosines = torch.einsum("me,mke->mk", _unit(visual), _unit(concepts))
    # a finite fill: a row without any concept must give numbers, which the contrast then leaves out
    weights = cosines.masked_fill(~concept_mask, -1e4).softmax(dim=1)
    return torch.einsum("mk,mke->me", weights * concept_mask, concepts)


def symmetric_info_nce(
    similarity: torch.Tensor,
    valid: torch.Tensor,
    negative: torch.Tensor,
    hard_negatives: int = 0,
    hard_weight: float = 1.0,
) -> torch.Tensor:
    """Mean InfoNCE of rows to columns and columns to rows, over those of the R contrasts that have a negative pair.

    0 if none has.

    Args:
        similarity: (R, M, M), already divided by the temperature; the right pairs are on the diagonals.
        valid: (R, M) bool, which rows (and columns) take part.
        negative: (M, M) bool, which pairs are wrong pairs; symmetric, False on the diagonal.
        hard_negatives, hard_weight: see ``LocalAlignmentLoss``.
    """
    if similarity.shape[1] < 2:
        return similarity.new_zeros(())
    wrong = negative & valid.unsqueeze(2) & valid.unsqueeze(1)
    # invalid rows keep their own diagonal, so every row has a finite log-sum-exp and no gradient turns NaN
    counted = wrong | torch.eye(similarity.shape[1], dtype=torch.bool, device=similarity.device)
    per_row = torch.zeros_like(similarity[:, :, 0])
    for matrix in (similarity, similarity.transpose(1, 2)):
        weighted = matrix
        if hard_negatives > 0 and hard_weight != 1:
            hardest = _most_similar(matrix.detach(), wrong, hard_negatives)
            weighted = matrix + hardest * math.log(hard_weight)
        denominator = weighted.masked_fill(~counted, float("-inf")).logsumexp(dim=2)
        per_row = per_row + 0.5 * (denominator - matrix.diagonal(dim1=1, dim2=2))
    per_contrast = (per_row * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)
    contrasting = wrong.flatten(1).any(dim=1)
    return (per_contrast * contrasting).sum() / contrasting.sum().clamp(min=1)


def _most_similar(similarity: torch.Tensor, wrong: torch.Tensor, count: int) -> torch.Tensor:
    """(R, M, M) bool: the ``count`` most similar wrong pairs of each row (all of them where there are fewer)."""
    ranked = similarity.masked_fill(~wrong, float("-inf"))
    chosen = ranked.topk(min(count, similarity.shape[2]), dim=2).indices
    return torch.zeros_like(wrong).scatter_(2, chosen, True) & wrong


def _prepare(
    visual: torch.Tensor,
    concepts: torch.Tensor,
    concept_mask: torch.Tensor | None,
    class_ids: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Checked inputs with absent concepts zeroed, and the (M, M) mask of pairs that are different classes."""
    rows, n_concepts = concepts.shape[:2]
    if visual.shape != (rows, concepts.shape[2]):
        raise ValueError(f"visual {tuple(visual.shape)} and concepts {tuple(concepts.shape)} differ in rows or width")
    if concept_mask is None:
        concept_mask = torch.ones(rows, n_concepts, dtype=torch.bool, device=visual.device)
    if class_ids is None:
        class_ids = torch.arange(rows, device=visual.device)
    if concept_mask.shape != (rows, n_concepts) or class_ids.shape != (rows,):
        raise ValueError(
            f"{rows} classes with {n_concepts} concepts need concept_mask ({rows}, {n_concepts}) "
            f"and class_ids ({rows},), not {tuple(concept_mask.shape)} and {tuple(class_ids.shape)}"
        )
    concept_mask = concept_mask.bool()
    concepts = concepts.masked_fill(~concept_mask.unsqueeze(2), 0.0)
    return visual, concepts, concept_mask, class_ids.unsqueeze(1) != class_ids.unsqueeze(0)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return F.normalize(vectors, dim=-1, eps=SHORTEST)


def _attach(visual: torch.Tensor, concepts: torch.Tensor) -> torch.Tensor:
    """A zero that hangs on both inputs, so that ``backward`` works when there was nothing to contrast."""
    return 0.0 * (visual.sum() + concepts.sum())
