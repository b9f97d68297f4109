"""The kinds of rules masks are made of: one file each, listed in the registry."""

from __future__ import annotations

from maskviz.core.rules.kinds.ahead import Ahead
from maskviz.core.rules.kinds.band import Band
from maskviz.core.rules.kinds.block_causal import BlockCausal
from maskviz.core.rules.kinds.block_diffusion import BlockDiffusion
from maskviz.core.rules.kinds.causal import Causal
from maskviz.core.rules.kinds.chunk import Chunk
from maskviz.core.rules.kinds.document import Document
from maskviz.core.rules.kinds.extra import Extra
from maskviz.core.rules.kinds.itself import Itself
from maskviz.core.rules.kinds.padding import Padding
from maskviz.core.rules.kinds.prefix import Prefix
from maskviz.core.rules.kinds.repositioned import Repositioned
from maskviz.core.rules.kinds.span import Span
from maskviz.core.rules.kinds.user_mask import UserMask
from maskviz.core.rules.kinds.window import Window

__all__ = [
    "Ahead",
    "Band",
    "BlockCausal",
    "BlockDiffusion",
    "Causal",
    "Chunk",
    "Document",
    "Extra",
    "Itself",
    "Padding",
    "Prefix",
    "Repositioned",
    "Span",
    "UserMask",
    "Window",
]
