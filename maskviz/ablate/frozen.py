"""Attention patterns held as they were in the plain run, while heads are silenced.

This is the pattern-preserving ablation of Olsson et al. 2022 ("In-context Learning and Induction Heads"): later heads
look where they looked, so what is measured is what a head passes on and not where it makes others look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from maskviz.ablate.model_and_texts import ModelAndTexts
from maskviz.ablate.replay import Replay
from maskviz.core.errors import CannotTraceError
from maskviz.core.writing import parameter
from maskviz.tracing.attend import attend_heads
from maskviz.tracing.listen.recorder import Recorder
from maskviz.tracing.listen.taps import SDPA_PARAMETERS, SOFTMAX


class Softmaxes(TorchFunctionMode):
    """Records what every softmax of a model's attention gives, and gives it again.

    Attributes:
        rows: Rows of the pass that runs.
    """

    def __init__(self, subject: ModelAndTexts, recorder: Recorder, replay: Replay) -> None:
        """Listen to the attention modules of a subject while a recorder follows which of them runs."""
        super().__init__()
        self.rows = 1
        self._paths = {path for path, _ in subject.calls}
        self._recorder = recorder
        self._replay = replay
        self._kept: dict[tuple[str, int], torch.Tensor] = {}
        self._held = False

    def record(self) -> None:
        """Keep what the next pass gives."""
        self._kept, self._held = {}, False

    def hold(self) -> None:
        """Give in all passes from now on what was kept.

        Raises:
            CannotTraceError: an attention has no softmax that could be held.
        """
        without = self._paths - {path for path, _ in self._kept}
        if without:
            raise CannotTraceError(
                f"{min(without)} has no softmax of its own, so its pattern cannot be held",
                f"try {parameter('ablation', 'zero')}",
            )
        self._held = True

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        positional: tuple[Any, ...] = (),
        arguments: dict[str, Any] | None = None,
    ) -> Any:
        """Stand in for the softmaxes and the fused attention of these modules."""
        del types
        arguments = arguments or {}
        path = self._recorder.attending if self._recorder.module_paths else ""
        if path in self._paths and function in SOFTMAX:
            return self._given(path, lambda: function(*positional, **arguments))
        if path in self._paths and function is torch.nn.functional.scaled_dot_product_attention:
            return self._attended(path, dict(zip(SDPA_PARAMETERS, positional, strict=False)) | arguments)
        return function(*positional, **arguments)

    def _given(self, path: str, softmax: Callable[[], torch.Tensor]) -> torch.Tensor:
        place = (path, self._replay.turn("softmax", path))
        if not self._held:
            self._kept[place] = softmax()
            return self._kept[place]
        return torch.cat([self._kept[place]] * self.rows)

    def _attended(self, path: str, given: dict[str, Any]) -> torch.Tensor:
        """Fused attention taken apart: its pattern, and the pattern times the values."""
        query, key, value, mask = given["query"], given["key"], given["value"], given.get("attn_mask")
        visible = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device)
        if given.get("is_causal"):
            visible = visible.tril()
        if mask is not None and mask.dtype is torch.bool:
            visible, mask = mask, None
        scale = given.get("scale") or query.shape[-1] ** -0.5
        pattern = self._given(path, lambda: attend_heads(query, key, value, visible, scale=scale, bias=mask)[1])
        output: torch.Tensor = pattern @ value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
        return output
