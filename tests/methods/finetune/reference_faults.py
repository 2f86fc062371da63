"""What the published code of Core-tuning does in six places, written small, for tests to see."""

from __future__ import annotations

import torch
from torch.nn import functional

from densecl.methods.finetune.core_tuning import Partners


def partners_zero_filled(features, labels):
    """Fault 1: what is no positive becomes 0 and then the least cosine is looked for."""
    unit = functional.normalize(features, dim=1)
    cosine = unit @ unit.T
    same = labels[:, None] == labels
    others = same & ~torch.eye(len(labels), dtype=torch.bool)
    positive = torch.where(others, cosine, torch.zeros(())).argmin(dim=1)
    negative = torch.where(same, torch.zeros(()), cosine).argmax(dim=1)
    return Partners(positive, negative, others.any(1), (~same).any(1))


def mixtures_of_a_detached_copy(features, targets, partners, alpha, draw):
    """Fault 2: the rows themselves are cut off from the gradient, only mixtures pass it."""
    share = torch.from_numpy(draw.beta(alpha, alpha, len(features))).to(features)[:, None]
    mixed = share * features[partners.positive] + (1 - share) * features[partners.negative]
    soft = share * targets[partners.positive] + (1 - share) * targets[partners.negative]
    return torch.cat([features.detach(), mixed]), torch.cat([targets, soft])


def overlap_of_hashes(targets):
    """Fault 3: a target becomes the integer sum of y_c 10^c, and equal integers are a positive."""
    power = torch.tensor([10**c % 2**63 for c in range(targets.shape[1])], dtype=torch.float32)
    code = (targets @ power).long()
    return (code[:, None] == code).float()


def contrast_over_all_columns(rows, targets, *, temperature=0.07):
    """Fault 4: the mean over j runs over all columns, positives or not."""
    itself = torch.eye(len(rows), dtype=torch.bool)
    score = (rows @ rows.T / temperature).masked_fill(itself, -torch.inf)
    log_p = score.log_softmax(1).masked_fill(itself, 0)
    positive = ((targets @ targets.T) > 0.999) & ~itself
    cost = (-(1 - log_p.exp()) * log_p * positive).mean(1)
    return cost.sum() / positive.any(1).sum()


def loss_with_a_second_forward(segmentor, inputs, loss_of):
    """Fault 5: the batch passes once more, for the log alone."""
    segmentor.extract_feat(inputs)
    return loss_of(segmentor, inputs)


def mixtures_with_strangers(features, targets, partners, alpha, draw):
    """Fault 6: a "hard" negative is at least four fifths a row drawn at random."""
    share = torch.from_numpy(draw.beta(alpha, alpha, len(features)).clip(0.8)).to(features)[:, None]
    other = torch.from_numpy(draw.permutation(len(features)))
    return (
        torch.cat([features, (1 - share) * features + share * features[other]]),
        torch.cat([targets, (1 - share) * targets + share * targets[other]]),
    )
