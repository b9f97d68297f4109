"""`maskviz mask`: the mask of a rule or of a model's layers at any length, without its square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.errors import UsageError
from maskviz.core.words import Style

if TYPE_CHECKING:
    from maskviz.core.rules.extents import Lengths

# A few seconds, and a few GB.
_LONGEST = 10_000_000
_RULES = (
    "bidirectional, causal, window(N), band(N), ahead(N), chunk(N), block(N), prefix(N), diffusion(N, LENGTH), "
    "document, padding"
)

RuleText = Annotated[
    str | None, typer.Argument(metavar="RULE", help=f"Such as 'causal & window(4096) & document'. Known: {_RULES}.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="The rules of this model's layers instead; hub id, folder, config.json."),
]
Length = Annotated[int | None, typer.Option("--length", metavar="N", min=1, help="Tokens: as many queries as keys.")]
Queries = Annotated[
    int | None, typer.Option("--queries", metavar="N", min=1, help="Only the last N tokens ask, behind a cache.")
]
Keys = Annotated[int | None, typer.Option("--keys", metavar="N", min=1, help="Keys, where they are not --length.")]
Documents = Annotated[
    str | None,
    typer.Option(
        "--documents",
        metavar="N,N,...|@FILE",
        help="Lengths of documents packed one after the other; the rest is one more.",
    ),
]
PaddingText = Annotated[
    str | None, typer.Option("--padding", metavar="[left:]N", help="The last N tokens are padding; left: the first.")
]
Heads = Annotated[int | None, typer.Option("--heads", min=1, help="Heads of a layer, to count operations.")]
Title = Annotated[str | None, typer.Option("--title", help="Title of the page; default: the model, or the length.")]
Width = Annotated[int | None, typer.Option("--width", min=1, help="Width of a head, to count operations.")]


def mask(
    ctx: typer.Context,
    rule: RuleText = None,
    model: Model = None,
    length: Length = None,
    queries: Queries = None,
    keys: Keys = None,
    documents: Documents = None,
    padding: PaddingText = None,
    heads: Heads = None,
    width: Width = None,
    title: Title = None,
    output: o.DataOutput = None,
    dpi: o.Dpi = 150,
    style: o.StyleName = Style.SCREEN,
    columns: o.Columns = None,
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Draw the mask of a rule, or of every layer of a model, for up to 10 million tokens, and count what it costs."""
    env: Env = ctx.obj
    paths = checked(output, (".json",))
    drawing = Drawing(dpi, style, columns)
    if (rule is None) == (model is None):
        raise UsageError("one of RULE and --model is needed", "maskviz mask 'causal & window(4096)' --length 100000")
    if (heads is None) != (width is None):
        raise UsageError("--heads and --width go together", "give both to count operations")
    if model is not None and any((documents, padding, heads)):
        raise UsageError("--documents, --padding, --heads and --width go with a RULE", "a model says its own")
    size = _size(length, queries, keys)

    from maskviz.store.costs import costs_json
    from maskviz.view.masks.symbolic import symbolic_page

    if model is not None:
        from maskviz.api.models.rules import rules_of_model
        from maskviz.load.models.source import resolve

        env.say_releases()
        env.progress(f"running {model} without its weights ...")
        ruled = rules_of_model(resolve(model, revision=revision, offline=offline, trust=trust_remote_code), model, size)
    else:
        from maskviz.cli.typed_rules import rule_of_words, typed_contents
        from maskviz.core.results.results import HeadSize

        contents = typed_contents(documents, padding, max(size.keys, size.offset + size.queries))
        own_heads = None if heads is None or width is None else HeadSize(heads, width)
        ruled = rule_of_words(rule or "", contents, size, own_heads)
    page = symbolic_page(ruled, title, {"command": env.command})
    deliver(env, page, paths, drawing, {".json": lambda: costs_json(ruled, env.command)})


def _size(length: int | None, queries: int | None, keys: int | None) -> Lengths:
    """Queries and keys as asked for; the queries are the last tokens of the keys, as behind a cache."""
    queries, keys = queries or length, keys or length
    if queries is None or keys is None:
        raise UsageError("how many tokens is not said", "--length 100000, or --queries 1 --keys 100000")
    if max(queries, keys) > _LONGEST:
        raise UsageError(
            f"{max(queries, keys):,} tokens are more than the {_LONGEST:,} that are counted here",
            "patterns repeat: a shorter length shows the same",
        )
    from maskviz.core.rules.extents import Lengths

    return Lengths(queries, keys, offset=max(0, keys - queries))
