"""maskviz: see, question and trust the attention masks of Transformer models.

>>> import maskviz
>>> trace = maskviz.trace("demo:bert", "the cat sat in the house")
>>> trace
<Trace of demo:bert: 1 x 8 tokens, 4 attention calls, 16 heads>
>>> trace.calls[0].pattern.shape  # [batch, head, query, key]
(1, 4, 8, 8)
"""

from importlib import import_module

TYPE_CHECKING = False  # of `typing`, whose import a command line would wait for
if TYPE_CHECKING:
    from maskviz.analyse.head_statistics import read_heads as read_heads
    from maskviz.api.check import Findings as Findings
    from maskviz.api.check import check as check
    from maskviz.api.trace import Trace as Trace
    from maskviz.api.trace import load_trace as load_trace
    from maskviz.api.tracing import trace as trace
    from maskviz.core.errors import MaskvizError as MaskvizError
    from maskviz.core.run.heads import HeadMask as HeadMask
    from maskviz.core.run.masks import Mask as Mask
    from maskviz.core.run.trace import AttentionCall as AttentionCall
    from maskviz.core.run.trace import Batch as Batch

__version__ = "0.1.0"

# Where the public names live. They are brought in when they are asked for, so that `maskviz --help` imports no torch.
_HOMES = {
    "AttentionCall": "maskviz.core.run.trace",
    "Batch": "maskviz.core.run.trace",
    "Findings": "maskviz.api.check",
    "HeadMask": "maskviz.core.run.heads",
    "Mask": "maskviz.core.run.masks",
    "MaskvizError": "maskviz.core.errors",
    "Trace": "maskviz.api.trace",
    "check": "maskviz.api.check",
    "load_trace": "maskviz.api.trace",
    "read_heads": "maskviz.analyse.head_statistics",
    "trace": "maskviz.api.tracing",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'maskviz' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
