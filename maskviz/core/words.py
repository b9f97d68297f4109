"""Words with a fixed list of values. They stand apart so that the command line can offer them without numpy."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a token is in its row."""

    TEXT = "text"
    SPECIAL = "special"
    MASK = "mask"
    IMAGE = "image"
    VIRTUAL = "virtual"
    PADDING = "padding"


class Stack(StrEnum):
    """Which attention of a model a call belongs to."""

    ENCODER = "encoder"
    DECODER = "decoder"
    CROSS = "cross"


class Scale(StrEnum):
    """How a value becomes a colour."""

    LINEAR = "linear"
    LOG = "log"


class Style(StrEnum):
    """What a picture in a file is for."""

    SCREEN = "screen"
    PAPER = "paper"


class CacheKind(StrEnum):
    """What keeps keys and values between the parts of a text."""

    DYNAMIC = "dynamic"
    STATIC = "static"


class Backend(StrEnum):
    """An attention implementation of transformers, by the name it has there."""

    EAGER = "eager"
    SDPA = "sdpa"
    FLEX = "flex_attention"
    FLASH = "flash_attention_2"


class Ablation(StrEnum):
    """What takes the place of a silenced head's output."""

    ZERO = "zero"
    MEAN = "mean"
    RESAMPLE = "resample"
    FROZEN = "frozen"


class Parallel(StrEnum):
    """How a model that is too large for one device is spread."""

    AUTO = "auto"
    TP = "tp"


class Only(StrEnum):
    """The one thing a figure shows."""

    MASK = "mask"
    ATTENTION = "attention"


class Measure(StrEnum):
    """What is compared between a run with heads silenced and the plain run; each is larger where more is lost."""

    LOSS = "loss"
    KL = "kl"
    FLIPS = "flips"
    RANK = "rank"
    SCORE = "score"
    COSINE = "cosine"


class MaskedReading(StrEnum):
    """How the loss of a masked language model on a text is read."""

    MASKED = "masked"
    VISIBLE = "visible"


class Method(StrEnum):
    """How the importance of heads is found."""

    EXACT = "exact"
    GRADIENT = "gradient"


class Statistic(StrEnum):
    """What is measured of every query's attention, exactly, without keeping the attention."""

    ENTROPY = "entropy"  # nats; its exponential is the effective number of keys
    FIRST = "first"  # share on the row's first real token, the usual sink
    ITSELF = "itself"
    PREVIOUS = "previous"
    SPECIAL = "special"  # share on special tokens
    PADDING = "padding"  # share on padding keys
    DISTANCE = "distance"  # mean of |query - key|, in tokens
    INDUCTION = "induction"  # share on keys that follow an earlier token like the query's (Olsson 2022)


class HeadStatistic(StrEnum):
    """What is measured of a head; `analyse/head_statistics.py` has the formulas."""

    ENTROPY = "entropy"  # nats
    SPREAD = "spread"  # entropy / log(keys the query sees), in [0, 1]
    SINK = "sink"  # share on the row's first real token
    SPECIAL = "special"  # share on special tokens
    PREVIOUS = "previous"
    NEXT = "next"
    ITSELF = "itself"
    DISTANCE = "distance"  # mean of |query - key|, in tokens
    REACH = "reach"  # distance / what uniform attention over the same keys would give
    POSITIONAL = "positional"  # share of queries whose largest weight lies at the head's usual offset
    DUPLICATE = "duplicate"  # share on other tokens of the query's own id
    INDUCTION = "induction"  # share on keys that follow an earlier token like the query's


class HeadRole(StrEnum):
    """What a head's attention looks like; `core/results/head_roles.py` has the thresholds."""

    POSITIONAL = "positional"
    PREVIOUS = "previous token"
    NEXT = "next token"
    ITSELF = "same token"
    SINK = "sink"
    SPECIAL = "special tokens"
    INDUCTION = "induction"
    DUPLICATE = "duplicate token"
    BROAD = "broad"


class Way(StrEnum):
    """How attention over a long text was computed without keeping it."""

    BLOCKS = "blocks"  # our own arithmetic on blocks of rows, as far as the mask reaches
    ROWS = "rows"  # the model's own eager attention on blocks of rows
    LAYER = "layer"  # the model's own attention, a whole layer at once


class Severity(StrEnum):
    """How bad a finding is: an error gives wrong results, a warning may, a note is worth knowing."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for a note, 1 for a warning, 2 for an error."""
        return list(Severity).index(self)


class Purpose(StrEnum):
    """What a batch is for, where it makes a difference to what is right."""

    FORWARD = "forward"
    GENERATE = "generate"


# Types a model computes in, as the command line has them.
DTYPES = ("auto", "float32", "float16", "bfloat16")


class Dialect(StrEnum):
    """A convention for masks, by the command line's name for it; `core/checks/dialects.py` says what each means."""

    HF_2D = "hf-2d"
    HF_4D = "hf-4d"
    SDPA = "sdpa"
    TORCH_MHA = "torch-mha"
    TORCH_MHA_FLOAT = "torch-mha-float"
    TORCH_PADDING = "torch-padding"
    KERAS = "keras"
    FLEX = "flex"
    FLAX = "flax"
    SEQUENCE_NUMBERS = "sequence-numbers"
    CU_SEQLENS = "cu-seqlens"
    HEAD_MASK = "head-mask"
    WEIGHTS = "weights"


class Side(StrEnum):
    """Side padding is put on."""

    LEFT = "left"
    RIGHT = "right"


class Positions(StrEnum):
    """Position ids passed to the model."""

    PLAIN = "plain"
    CUMSUM = "cumsum"
