"""The other name of some kinds of rules."""

from __future__ import annotations

from maskviz.core.rules.kinds import BlockCausal, BlockDiffusion, Prefix

__all__ = ["BlockCausal", "BlockDiffusion", "Prefix"]
