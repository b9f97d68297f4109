"""Which tokens the demo BERT must guess, and what it sees in their place."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from transformers import PreTrainedTokenizerFast

IGNORED = -100  # the label that transformers leaves out of a loss
# Words that must agree with a noun elsewhere. They are asked for more often, and may be swapped for
# another word of their group: so a visible "it" has to be checked against its noun, not only a hidden one.
AGREEING = ((" it", " he", " she", " they"), (" was", " were"))


class Hiding:
    """Hides tokens of a batch: most behind `[MASK]`, some behind another token, some left as they are."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, dice: Generator, usual: float, agreeing: float = 0.4
    ) -> None:
        """Hide a share `usual` of all tokens and `agreeing` of the words in `AGREEING`."""
        self.mask_token = tokenizer.mask_token_id
        self.dice = dice
        self.special = len(tokenizer.all_special_ids)  # special tokens have the lowest ids
        self.vocabulary = len(tokenizer)
        self.groups = [
            torch.tensor([tokenizer.encode(w, add_special_tokens=False)[0] for w in group]) for group in AGREEING
        ]
        self.share = torch.full((self.vocabulary,), usual)
        self.share[: self.special] = 0.0
        self.share[torch.cat(self.groups)] = agreeing

    def __call__(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the model sees and what it must answer, both `[row, position]`."""
        chosen = self._chance(tokens) < self.share[tokens]
        labels = tokens.masked_fill(~chosen, IGNORED)
        fate = self._chance(tokens)  # up to 0.75: masked; up to 0.9: swapped; above: seen as it is
        seen = torch.where(chosen & (fate < 0.75), self.mask_token, tokens)
        swapped = chosen & (fate >= 0.75) & (fate < 0.9)
        return torch.where(swapped, self._others(tokens), seen), labels

    def _chance(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=self.dice)

    def _others(self, tokens: Tensor) -> Tensor:
        """A random token for each token, of the same group if the token agrees with a noun."""
        others = torch.randint(self.special, self.vocabulary, tokens.shape, generator=self.dice)
        for group in self.groups:
            pick = group[torch.randint(len(group), tokens.shape, generator=self.dice)]
            others = torch.where(torch.isin(tokens, group), pick, others)
        return others
