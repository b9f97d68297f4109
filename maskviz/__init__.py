"""maskviz: see, question and trust the attention masks of Transformer models.

>>> import maskviz
>>> trace = maskviz.trace("demo:bert", "the cat sat in the house")
>>> trace
<Trace of demo:bert: 1 x 8 tokens, 4 attention calls, 16 heads>
>>> trace.calls[0].pattern.shape  # [batch, head, query, key]
(1, 4, 8, 8)
"""

import sys
import warnings
from importlib import import_module

TYPE_CHECKING = False  # of `typing`, whose import a command line would wait for
if TYPE_CHECKING:
    from maskviz.api.check import Findings as Findings
    from maskviz.api.check import check as check
    from maskviz.api.convert import convert as convert
    from maskviz.api.diff import diff as diff
    from maskviz.api.doctor import doctor as doctor
    from maskviz.api.explain import explain as explain
    from maskviz.api.heads import heads as heads
    from maskviz.api.heads import read_heads as read_heads
    from maskviz.api.importance import importance as importance
    from maskviz.api.info import info as info
    from maskviz.api.mask import mask as mask
    from maskviz.api.mlm import mlm as mlm
    from maskviz.api.prune import prune as prune
    from maskviz.api.shown import Trace as Trace
    from maskviz.api.shown import load_trace as load_trace
    from maskviz.api.trace import trace as trace
    from maskviz.api.watched import checked as checked
    from maskviz.core.errors import MaskvizError as MaskvizError
    from maskviz.core.run.heads import HeadMask as HeadMask
    from maskviz.core.run.trace import AttentionCall as AttentionCall
    from maskviz.core.run.trace import Batch as Batch
    from maskviz.core.run.trace import Mask as Mask

__version__ = "0.1.0"

if "IPython" in sys.modules:  # transformers' bars ask for widgets that nothing here needs
    warnings.filterwarnings("ignore", message="IProgress not found")

# Where the public names live. They are brought in when they are asked for, so that `maskviz --help` imports no torch.
_HOMES = {
    "AttentionCall": "maskviz.core.run.trace",
    "Batch": "maskviz.core.run.trace",
    "Findings": "maskviz.api.check",
    "HeadMask": "maskviz.core.run.heads",
    "Mask": "maskviz.core.run.trace",
    "MaskvizError": "maskviz.core.errors",
    "Trace": "maskviz.api.shown",
    "check": "maskviz.api.check",
    "checked": "maskviz.api.watched",
    "convert": "maskviz.api.convert",
    "diff": "maskviz.api.diff",
    "doctor": "maskviz.api.doctor",
    "explain": "maskviz.api.explain",
    "heads": "maskviz.api.heads",
    "importance": "maskviz.api.importance",
    "info": "maskviz.api.info",
    "load_trace": "maskviz.api.shown",
    "mask": "maskviz.api.mask",
    "mlm": "maskviz.api.mlm",
    "prune": "maskviz.api.prune",
    "read_heads": "maskviz.api.heads",
    "trace": "maskviz.api.trace",
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
