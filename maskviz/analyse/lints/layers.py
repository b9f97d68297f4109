"""Rules on layers and heads: what their masks are beside what the config, the class or a what-if says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from maskviz.analyse.lints.masks import bool_in_eager, ones_as_additive, whole_numbers
from maskviz.analyse.lints.numbers import constant
from maskviz.analyse.lints.padding import pad_without_mask
from maskviz.analyse.padding_share import attention_on_padding
from maskviz.analyse.user_mask import parts_of
from maskviz.core.arrays import BoolArray
from maskviz.core.checks.case import Behaviour, Case, Tried
from maskviz.core.checks.findings import Confidence, Finding, Lint, Need
from maskviz.core.checks.known import found
from maskviz.core.rules.algebra import Everything, Grid, Rule
from maskviz.core.rules.kinds import Band, Causal, Chunk, Padding, Window
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.recognise import recognise
from maskviz.core.run.handover import HandedGroup
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Backend, Role, Stack
from maskviz.core.writing import ranges

_LOCAL = (Window, Band, Chunk)
_FUSED = (Backend.FLASH, Backend.FLEX)


def window_off_by_one(case: Case) -> Iterator[Finding]:
    """L2: layers whose window is one key off the config's, or a backend whose window is one off the layers'."""
    run = case.run
    if run is None or case.model is None:
        return
    claimed = {size for name, size in case.model.windows.items() if name.startswith("sliding_window")}
    off = [
        (call, leaf.size)
        for call in run.trace.calls
        for leaf in call.mask.rule.leaves()
        if isinstance(leaf, Window) and leaf.size not in claimed and {leaf.size - 1, leaf.size + 1} & claimed
    ]
    for size in sorted({size for _, size in off}):
        where = layers_in([call for call, own in off if own == size], run.trace)
        named = min(claimed, key=lambda one: abs(one - size))
        yield found("L2", where, f"a query sees {size} keys, and the config names a window of {named}")
    for group in run.handed:
        if group.expressed is False and _one_off(group):
            more = len(group.added) > 0
            message = f"{run.backend} shows a query one key {'more' if more else 'less'} than the window has"
            yield found("L2", layers_in(group.calls, run.trace), message, measured=_cells(group))


def _one_off(group: HandedGroup) -> bool:
    """Whether the cells that differ are one a row, at one distance, and differ by the window."""
    cells = group.added if len(group.added) else group.lost
    if (len(group.added) and len(group.lost)) or Reason.WINDOW not in group.reasons:
        return False
    distances = np.abs(cells[:, 2] - cells[:, 3])
    return len(set(distances.tolist())) == 1 and len({tuple(cell) for cell in cells[:, :3].tolist()}) == len(cells)


def mask_replaces_rules(case: Case) -> Iterator[Finding]:
    """L3: with a 4-D mask cells are visible that windows or chunks of the model's own block without it."""
    run = case.run
    if run is None or run.plain is None or case.array is None or case.array.values.ndim < 3:
        return
    opened: dict[str, list[tuple[AttentionCall, int]]] = {}
    for call, before in zip(run.trace.calls, run.plain.calls, strict=False):
        if call.mask.visible.shape[2:] != before.mask.visible.shape[2:]:
            continue
        seen = call.mask.visible & ~before.mask.visible & run.trace.real_queries(call)[:, None, :, None]
        for part in parts_of(before.mask.rule):
            if isinstance(part, _LOCAL) and (count := int((seen & ~part.visible(before.mask.grid)).sum())):
                opened.setdefault(str(part), []).append((call, count))
    for rule, calls in opened.items():
        where = layers_in([call for call, _ in calls], run.trace)
        most = max(count for _, count in calls)
        yield found("L3", where, f"{rule} no longer holds: {most} cells it blocks are visible with the mask")


def window_on_wrong_layers(case: Case) -> Iterator[Finding]:
    """L4: layers that slide where the config says they do not, or see beyond the window it says they have."""
    run, model = case.run, case.model
    if run is None or model is None:
        return
    trace = run.plain or run.trace  # a mask of the user's own takes the place of the rules
    calls = [call for call in trace.calls if call.stack is not Stack.CROSS]
    sliding = [call.layer for call in calls if any(isinstance(leaf, _LOCAL) for leaf in call.mask.rule.leaves())]
    if model.use_sliding_window is False and sliding and "chunked_attention" not in model.layer_types:
        yield found("L4", _numbered(sliding), "they slide, and the config says use_sliding_window: false")
        return
    named = dict(enumerate(model.layer_types))
    if wrong := [layer for layer in sliding if named.get(layer) == "full_attention"]:
        yield found("L4", _numbered(wrong), "the config calls them full_attention, and they slide")
    window = max((size for name, size in model.windows.items() if name.startswith("sliding_window")), default=None)
    called = [call for call in calls if named.get(call.layer) == "sliding_attention"]
    if window is not None and (far := [call.layer for call in called if _farthest(call) >= window]):
        message = f"the config calls them sliding_attention with a window of {window}, and they see beyond it"
        yield found("L4", _numbered(far), message)


def _farthest(call: AttentionCall) -> int:
    """How many tokens back the farthest key lies that a query may see."""
    cells = np.argwhere(call.mask.visible.any(axis=(0, 1)))
    return int((cells[:, 0] + call.mask.query_offset - cells[:, 1]).max()) if len(cells) else 0


def _numbered(layers: Sequence[int]) -> str:
    return f"layer{'' if len(layers) == 1 else 's'} {ranges(layers)}"


def chunks_with_left_padding(case: Case) -> Iterator[Finding]:
    """L5: chunks that do not start at the first real token of a row padded on the left."""
    if case.run is None:
        return
    trace = case.run.trace
    for row in range(trace.batch.rows):
        keep = trace.batch.keep[row]
        before = int(np.argmax(keep)) if keep.any() else 0
        wrong = [
            call
            for call in trace.calls
            for leaf in call.mask.rule.leaves()
            if before and isinstance(leaf, Chunk) and (before - int(leaf.start.array[row])) % leaf.size
        ]
        if wrong:
            sizes = sorted({leaf.size for call in wrong for leaf in call.mask.rule.leaves() if isinstance(leaf, Chunk)})
            message = f"{before} padding tokens come first, and chunks of {sizes[0]} are not counted from behind them"
            yield found("L5", f"text {row + 1}, {layers_in(wrong, trace)}", message, row=row)


def image_spans(case: Case) -> Iterator[Finding]:
    """L6: tokens of an image that see only a part of it, or a later image."""
    if case.run is None:
        return
    trace = case.run.trace
    for row in range(trace.batch.rows):
        spans = _spans(trace.batch.roles[row])
        partly, later = [], []
        for call in trace.calls:
            if trace.sides(call)[1] is not trace.batch or call.mask.visible.shape[2:] != (trace.batch.length,) * 2:
                continue
            visible = call.mask.visible[row].any(axis=0)
            inside = [visible[np.ix_(span, span)] for span in spans]
            ahead = any(np.triu(one, k=1).any() for one in inside)
            is_local = any(isinstance(leaf, _LOCAL) for leaf in call.mask.rule.leaves())
            if ahead and not is_local and not all(one.all() for one in inside):
                partly.append(call)
            if any(visible[np.ix_(one, other)].any() for n, one in enumerate(spans) for other in spans[n + 1 :]):
                later.append(call)
        if partly:
            yield found(
                "L6", f"text {row + 1}, {layers_in(partly, trace)}", "an image's tokens see a part of it", row=row
            )
        if later and _is_causal(trace):
            message = "an image's tokens see a later image"
            yield found("L6", f"text {row + 1}, {layers_in(later, trace)}", message, row=row)


def _is_causal(trace: Trace) -> bool:
    return any(isinstance(leaf, Causal) for call in trace.calls for leaf in call.mask.rule.leaves())


def _spans(roles: Sequence[Role]) -> list[list[int]]:
    """Runs of image tokens."""
    spans: list[list[int]] = []
    for place, role in enumerate(roles):
        if role is Role.IMAGE:
            if place and roles[place - 1] is Role.IMAGE:
                spans[-1].append(place)
            else:
                spans.append([place])
    return spans


def backend_drops_pattern(case: Case) -> Iterator[Finding]:
    """L7: what the backend lets through is not what is meant, though it is handed something."""
    run = case.run
    if run is None or run.backend is None:
        return
    for group in run.handed:
        if group.expressed is False and not _one_off(group) and not _skipped(run, group):
            message = f"{run.backend}, handed {group.words}, lets through other cells than are meant{_why(group)}"
            yield found("L7", layers_in(group.calls, run.trace), message, measured=_cells(group))


def mask_skipped(case: Case) -> Iterator[Finding]:
    """L11: no mask is handed over where one was meant."""
    run = case.run
    if run is None or run.backend is None:
        return
    for group in run.handed:
        if group.expressed is False and not _one_off(group) and _skipped(run, group):
            message = f"{run.backend} is handed {group.words}, and a mask is meant{_why(group)}"
            yield found("L11", layers_in(group.calls, run.trace), message, measured=_cells(group))


def _skipped(run: Behaviour, group: HandedGroup) -> bool:
    return run.backend not in _FUSED and not group.masked


def _why(group: HandedGroup) -> str:
    return f" ({', '.join(group.why)})" if group.why else ""


def _cells(group: HandedGroup) -> str:
    parts = []
    if len(group.added):
        parts.append(f"{len(group.added)} cells visible that are meant to be blocked")
    if len(group.lost):
        parts.append(f"{len(group.lost)} blocked that are meant to be visible")
    return f"{' and '.join(parts)}, of {group.cells}"


def attention_without_mask_function(case: Case) -> Iterator[Finding]:
    """L8: the attention implementation has a function and no mask function."""
    model = case.model
    if model is not None and model.attention_registered and not model.mask_registered:
        message = f"{model.implementation!r} is a registered attention function, and no mask function has that name"
        cost, how = "", Confidence.CERTAIN
        if case.run is not None and case.run.earlier is not None:
            cost = f"with another later token, earlier outputs move by up to {case.run.earlier:.2g}"
            how = Confidence.MEASURED
        yield found("L8", model.architecture, message, measured=cost, confidence=how)


def cross_attention_unmasked(case: Case) -> Iterator[Finding]:
    """L9: queries of the decoder that may see padding of the encoder or of the decoder."""
    if case.run is None or case.run.trace.batch.decoder is None or case.batch is None:
        return
    trace = case.run.trace
    kept = {one.row for one in pad_without_mask(case)}  # P1 says it where the mask keeps padding
    for stack in (Stack.CROSS, Stack.DECODER):
        for row in range(trace.batch.rows):
            if stack is Stack.CROSS and row in kept:
                continue
            calls = tuple(call for call in trace.of_stack(stack) if _shows_padding(trace, call, row))
            passed = case.batch.keep if stack is Stack.CROSS else case.batch.decoder_keep
            if not calls or (stack is Stack.CROSS and passed[row] is None and case.batch.pad_id is not None):
                continue  # P1 says it where no mask is passed at all
            share = attention_on_padding(trace, row, calls)
            whose = "the encoder's" if stack is Stack.CROSS else "its own"
            yield found(
                "L9",
                f"text {row + 1}, {layers_in(calls, trace)}",
                f"tokens of the decoder may see {whose} padding",
                measured="" if share is None else f"{share:.2f} of their attention there falls on it",
                confidence=Confidence.CERTAIN if share is None else Confidence.MEASURED,
                row=row,
            )


def _shows_padding(trace: Trace, call: AttentionCall, row: int) -> bool:
    keep, real = trace.sides(call)[1].keep[row], trace.real_queries(call)[row]
    visible = call.mask.visible[row].any(axis=0)
    return visible.shape[1] >= len(keep) and bool((visible[real][:, : len(keep)] & ~keep).any())


def recurrence_sees_padding(case: Case) -> Iterator[Finding]:
    """L10: layers without an attention matrix, a mask, and outputs that padding moves all the same."""
    if case.run is None or not any(layer.kind for layer in case.run.trace.silent):
        return
    run, kinds = case.run, sorted({layer.kind for layer in case.run.trace.silent if layer.kind})
    for one in run.padded:
        least = min(moved for moved in (one.alone, one.masked, one.counted) if moved is not None)
        if least > run.noticeable:
            where = "left" if one.left else "right"
            yield found(
                "L10",
                f"text {one.row + 1}",
                f"padded on the {where}, and there are layers of {', '.join(kinds)}",
                measured=f"outputs of its real tokens are off by up to {one.alone:.2g}, and no mask or positions help",
                cure="" if one.left else "Run texts of one length together.",
                confidence=Confidence.MEASURED,
                row=one.row,
            )


def misnamed_mask_function(case: Case) -> Iterator[Finding]:
    """L12: a mask made by a function that is called what its cells are not."""
    if case.run is None:
        return
    for claimed, calls in case.run.trace.misnamed().items():
        yield found(
            "L12",
            layers_in(calls, case.run.trace),
            f"the function is called {claimed}, and the cells of its mask are others",
            confidence=Confidence.MEASURED,
        )


def unused_window(case: Case) -> Iterator[Finding]:
    """L13: a window in the config that no layer has, though the config does not say that it is not used."""
    model = case.model
    if model is None or not model.unused or model.use_sliding_window is False or any(window_on_wrong_layers(case)):
        return
    named = ", ".join(f"{name} {size:,}" for name, size in sorted(model.unused.items()))
    why = f": {model.unused_by}" if model.unused_by else f"; the code of {model.architecture} does not read it"
    yield found("L13", "the config", f"it names {named}, and no layer has a window{why}")


def layers_in(calls: Sequence[AttentionCall], trace: Trace) -> str:
    """Names of the layers of some calls, such as "layers 0-3" or "cross layer 2"."""
    several = len(trace.stacks) > 1
    words = []
    for stack in trace.stacks:
        layers = sorted({call.layer for call in calls if call.stack is stack})
        if layers:
            words.append(f"{f'{stack} ' if several else ''}{_numbered(layers)}")
    return ", ".join(words)


_OF_LAYERS: tuple[Lint, ...] = (
    Lint("L2", window_off_by_one, (Need.RUN,)),
    Lint("L3", mask_replaces_rules, (Need.RUN, Need.ARRAY)),
    Lint("L4", window_on_wrong_layers, (Need.RUN,)),
    Lint("L5", chunks_with_left_padding, (Need.RUN,)),
    Lint("L6", image_spans, (Need.RUN,)),
    Lint("L7", backend_drops_pattern, (Need.RUN,)),
    Lint("L8", attention_without_mask_function, (Need.MODEL,)),
    Lint("L9", cross_attention_unmasked, (Need.BATCH, Need.RUN)),
    Lint("L10", recurrence_sees_padding, (Need.RUN, Need.WEIGHTS)),
    Lint("L11", mask_skipped, (Need.RUN,)),
    Lint("L13", unused_window, (Need.MODEL,)),
    Lint("L12", misnamed_mask_function, (Need.RUN,)),
)


def causal_leak(case: Case) -> Iterator[Finding]:
    """L1: a model that predicts the next token, whose earlier outputs move when a later token is changed."""
    run = case.run
    if run is None or case.model is None or run.earlier is None or run.earlier <= run.noticeable_alike:
        return
    if not case.model.predicts_next and run.trace.batch.decoder is None:
        return
    meant = case.meant is not None and _shows_later(case.meant, run.trace)
    if meant or _sees_ahead_by_rule(run.trace):
        return
    side = Stack.DECODER if run.trace.batch.decoder is not None else None
    ahead = [call for call in run.trace.calls if side in (None, call.stack) and _sees_ahead(call)]
    where = layers_in(ahead, run.trace)
    shown = f"the masks of {where} show later tokens" if ahead else "no mask shows later tokens"
    mended = next((one for one in run.earlier_with if one.left <= run.noticeable_alike), None)
    of_the_user = run.plain is not None and not any(map(_sees_ahead, run.plain.calls))
    if of_the_user:
        shown = f"the mask that was given shows later tokens in {where}"
    yield found(
        "L1",
        where if of_the_user else case.model.architecture,
        f"outputs depend on later tokens; {shown}",
        measured=f"with another later token, earlier outputs move by up to {run.earlier:.2g}",
        confidence=Confidence.MEASURED,
        tried="" if mended is None else f"with {mended.change}: {mended.left:.2g}",
        cure=_cure_of_leak(case, mended, of_the_user),
    )


def _cure_of_leak(case: Case, mended: Tried | None, of_the_user: bool) -> str:
    """What to do by what was tried; "" where nothing else than the class is left."""
    if of_the_user:
        of_type = next((one.trap.id for rule in _OF_TYPES for one in rule(case)), None)
        if of_type is not None:
            return f"Mend what {of_type} says of its numbers: as they are, they block nothing for sure."
        cure = f"Give {mended.change}." if mended is not None else "Join it with the triangle: mask & causal."
        rule = None if case.array is None or case.array.visible is None else known_rule(case.array.visible)
        return cure if rule is None else f"{cure} If {rule} is what is meant, say so, and it is no leak."
    if mended is not None:
        return f"Use {mended.change}."
    own = case.model is not None and case.model.own
    return "Give every layer the triangle; where each has it, something beside attention mixes tokens." if own else ""


# Rules about numbers that block nothing where they are added.
_OF_TYPES = (ones_as_additive, bool_in_eager, whole_numbers, constant)


def known_rule(visible: BoolArray) -> str | None:
    """A rule of more than padding that has these cells, in words; None where there is none."""
    rule = recognise(visible[:, :1], None)
    says_more = any(not isinstance(leaf, Everything | Padding) for leaf in rule.leaves())
    return str(rule) if rule.readable and says_more else None


def _shows_later(rule: Rule, trace: Trace) -> bool:
    """Whether a rule lets some token of the batch see a later one."""
    side = trace.batch.decoder or trace.batch
    at = Grid.of(side.rows, side.length, side.length, 0)
    return bool((rule.visible(at) & (at.key > at.query)).any())


def _sees_ahead(call: AttentionCall) -> bool:
    return bool(np.triu(call.mask.visible.any(axis=(0, 1)), k=1 + call.mask.query_offset).any())


def _sees_ahead_by_rule(trace: Trace) -> bool:
    """Whether a rule lets tokens of one span see each other: a prefix or an image, both by design."""
    return any(leaf.exception for call in trace.calls for leaf in call.mask.rule.leaves() if _sees_ahead(call))


_OF_CAUSAL: tuple[Lint, ...] = (Lint("L1", causal_leak, (Need.RUN, Need.WEIGHTS)),)


def ablated_after_projection(case: Case) -> Iterator[Finding]:
    """H1: outputs that are those of slices of the projection's result set to zero."""
    one = case.ablated
    if one is None or one.after_projection is None or one.right <= one.noticeable:
        return
    if one.after_projection <= one.noticeable:
        yield found(
            "H1",
            one.name,
            f"these are the outputs with heads {one.heads} zeroed behind the output projection",
            measured=f"off by up to {one.right:.2g} from those with the heads silenced, and by "
            f"{one.after_projection:.2g} from those with the slices behind the projection zeroed",
            confidence=Confidence.MEASURED,
        )


def heads_taken_in_turn(case: Case) -> Iterator[Finding]:
    """H3: outputs that are those of the query heads h % key heads instead of h // group."""
    one = case.ablated
    if one is None or one.in_turn is None or one.right <= one.noticeable:
        return
    if one.in_turn <= one.noticeable:
        yield found(
            "H3",
            one.name,
            f"these are the outputs with other query heads silenced than {one.heads}: every n-th instead of a group",
            measured=f"off by up to {one.right:.2g} from those with the groups silenced, and by {one.in_turn:.2g} from "
            "those with every n-th head silenced",
            confidence=Confidence.MEASURED,
        )


_OF_HEADS: tuple[Lint, ...] = (
    Lint("H1", ablated_after_projection, (Need.ABLATED,)),
    Lint("H3", heads_taken_in_turn, (Need.ABLATED,)),
)


def not_as_meant(case: Case) -> Iterator[Finding]:
    """T11: cells of real tokens that differ from those of the rule that was said to be meant."""
    if case.meant is None:
        return
    if case.run is not None:
        yield from _of_layers(case.run.trace, case.meant)
    elif case.array is not None and case.array.visible is not None and case.array.visible.shape[2] > 1:
        visible = case.array.visible
        rows, _, queries, keys = visible.shape
        at = Grid.of(rows, queries, keys, max(0, keys - queries))
        wanted = np.broadcast_to(case.meant.visible(at), visible.shape)
        if (wanted != visible).any():
            yield found("T11", case.array.name, _differences(visible, wanted, case.meant))


def _of_layers(trace: Trace, meant: Rule) -> Iterator[Finding]:
    groups: dict[str, list[AttentionCall]] = {}
    for call in trace.calls:
        queries, keys = trace.sides(call)
        if queries is not keys or (trace.batch.decoder is not None and keys is trace.batch):
            continue  # a rule is meant for the stack that generates
        visible = call.mask.visible[..., : keys.length]
        asked = trace.real_queries(call)[:, None, :, None] & keys.keep[:, None, None, :]
        at = Grid.of(keys.rows, visible.shape[2], visible.shape[3], call.mask.query_offset)
        wanted = np.broadcast_to(meant.visible(at), visible.shape) & asked
        if ((visible & asked) != wanted).any():
            groups.setdefault(_differences(visible & asked, wanted, meant), []).append(call)
    for message, calls in groups.items():
        yield found("T11", layers_in(calls, trace), message, confidence=Confidence.MEASURED)


def _differences(visible: BoolArray, wanted: BoolArray, meant: Rule) -> str:
    """How many cells are shown and blocked against the rule, and the first of them."""
    more, less = (np.asarray(one.any(axis=1)) for one in (visible & ~wanted, wanted & ~visible))
    parts = []
    for cells, what in ((more, "visible that the rule blocks"), (less, "blocked that the rule shows")):
        if cells.any():
            row, query, key = np.argwhere(cells)[0].tolist()
            parts.append(f"{int(cells.sum())} {what}, the first query {query}, key {key} of row {row + 1}")
    return f"other cells than {meant}: {'; '.join(parts)}"


_OF_MEANT: tuple[Lint, ...] = (Lint("T11", not_as_meant, (Need.MEANT,)),)

LINTS = (*_OF_LAYERS, *_OF_CAUSAL, *_OF_HEADS, *_OF_MEANT)
