"""How a model runs: which implementation of attention, over how many processes, with what caches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import deepcopy
from typing import Any

import torch
from transformers import (
    Cache,
    DynamicCache,
    EncoderDecoderCache,
    PreTrainedConfig,
    PreTrainedModel,
    StaticCache,
    masking_utils,
)
from transformers import modeling_flash_attention_utils as flash
from transformers.integrations import flex_attention

from maskviz.core.words import Backend
from maskviz.tracing.seam.replacing import Canary, MovedError, alone, has, replaced


def processes_of(model: torch.nn.Module | type[torch.nn.Module]) -> int:
    """Over how many processes the heads of a model are dealt out; 1 where it is whole."""
    return getattr(model, "_tp_size", None) or 1


def _processes_are_said() -> bool:
    from transformers import LlamaForCausalLM

    return hasattr(LlamaForCausalLM, "_tp_size") and processes_of(LlamaForCausalLM) == 1


_OF_PROCESSES = (Canary("over how many processes a model is dealt out", "transformers", _processes_are_said),)


_IMPORT = "lazy_import_flash_attention"
# What flash_attn 2's flash_attn_varlen_func takes besides its tokens: transformers leaves out what it does not.
_ARGUMENTS = (
    *("cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k", "dropout_p", "softmax_scale", "causal"),
    *("window_size", "softcap", "alibi_slopes", "deterministic", "return_attn_probs", "block_table"),
)
SIGNATURE = inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in _ARGUMENTS])


def flash_kernel_replaced(kernel: Callable[..., Any]) -> AbstractContextManager[None]:
    """A block in which flash attention runs a kernel of ours, which has `SIGNATURE`; no package is needed."""

    def imported(*_: Any, **__: Any) -> tuple[Any, Any]:
        process = flash._lazy_define_process_function(kernel)
        if hasattr(flash, "_process_with_kvcache_kwargs_fn"):  # with, or in older releases without, a paged kernel
            return (kernel, kernel, None, flash._pad_input, flash._unpad_input), (process, dict)
        return (kernel, kernel, flash._pad_input, flash._unpad_input), process

    return replaced(vars(flash), {_IMPORT: imported})


def _flash_is_there() -> bool:
    return has(flash, _IMPORT, "_lazy_define_process_function", "_pad_input", "_unpad_input")


_OF_FLASH = (Canary("where flash attention asks for its kernel", "transformers", _flash_is_there),)


_KERNEL, _BLOCK_MASK = "compile_friendly_flex_attention", "create_block_mask"
_FILES = (masking_utils, flex_attention)


@contextmanager
def flex_kernel_replaced(forward: Callable[..., Any], kernel: Callable[..., Any]) -> Iterator[None]:
    """Let flex attention call a kernel of ours while the block runs.

    Args:
        forward: The attention function; models have copies of it in files of their own.
        kernel: What is called instead.
    """
    files = {id(names): names for names in (vars(flex_attention), getattr(forward, "__globals__", {}))}
    with ExitStack() as block:
        for names in files.values():
            if _KERNEL in names:
                block.enter_context(replaced(names, {_KERNEL: kernel}))
        yield


@contextmanager
def block_masks_not_compiled() -> Iterator[None]:
    """Make flex attention's masks without a compiler, which takes seconds for each and is not everywhere."""
    with ExitStack() as block:
        for names in map(vars, _FILES):
            if _BLOCK_MASK in names:
                block.enter_context(replaced(names, {_BLOCK_MASK: _not_compiled(names[_BLOCK_MASK])}))
        yield


def _not_compiled(create: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *positional, **arguments: create(*positional, **{**arguments, "_compile": False})


def _flex_is_there() -> bool:
    return has(flex_attention, _KERNEL) and any(has(one, _BLOCK_MASK) for one in _FILES)


_OF_FLEX = (Canary("where flex attention calls its kernel", "transformers", _flex_is_there),)


# What a forward calls its cache, and what it returns one as: the first since transformers 5.24.
_NAMES = ("cache", "past_key_values")


def cache_argument(model: PreTrainedModel) -> str:
    """What a model's forward calls its key-value cache."""
    taken = inspect.signature(model.forward).parameters
    return next((name for name in _NAMES if name in taken), _NAMES[-1])


def cache_of(given: Mapping[str, Any]) -> Any:
    """The key-value cache among the arguments of a forward, or None."""
    return next((given[name] for name in _NAMES if given.get(name) is not None), None)


def cache_returned(output: Any) -> Any:
    """The key-value cache in what a model returned, or None."""
    named = output if isinstance(output, Mapping) else vars(output) if hasattr(output, "__dict__") else {}
    return cache_of(named)


def tokens_in(cache: Any) -> int:
    """How many tokens of a text a key-value cache has seen, those that a window has dropped counted too.

    Args:
        cache: One of transformers, or for each layer its keys [batch, head, key, width] and values.
    """
    if hasattr(cache, "get_seq_length"):
        held = getattr(cache, "self_attention_cache", cache)
        layers = getattr(held, "layers", None)
        if not layers:
            return int(held.get_seq_length())
        return max(int(layer.get_seq_length()) for layer in layers if hasattr(layer, "get_seq_length"))
    first = next((one for one in tensors_in(cache) if one.ndim == 4), None)
    return 0 if first is None else int(first.shape[-2])


def static_cache(model: PreTrainedModel, tokens: int) -> Cache:
    """A cache of a fixed size for a model; raises what the library says about the config."""
    cache = StaticCache(config=model.config.get_text_config(decoder=True), max_cache_len=tokens)
    return EncoderDecoderCache(cache, DynamicCache()) if model.config.is_encoder_decoder else cache


def copied(value: Any) -> Any:
    """A copy of an argument of a forward, every tensor in it included: a model writes into its caches."""
    return value.clone() if isinstance(value, torch.Tensor) else mapped(value, lambda one: one.clone())


def mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A copy of an argument of a forward with something else in place of every tensor in it."""
    if isinstance(value, torch.Tensor):
        return change(value)
    # Tensors with gradients refuse to be copied by deepcopy; no gradient is asked for here.
    return deepcopy(value, {id(one): change(one.detach()) for one in tensors_in(value)})


def tensors_in(value: Any, seen: set[int] | None = None) -> Iterator[torch.Tensor]:
    """Every tensor in nested values and objects, each object once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
        return
    if isinstance(value, torch.nn.Module | type):
        return
    inner = list(value.values()) if isinstance(value, Mapping) else []
    inner += list(value) if isinstance(value, list | tuple | set) else []
    inner += list(vars(value).values()) if hasattr(value, "__dict__") else []
    for one in inner:
        yield from tensors_in(one, seen)


def _keeps() -> bool:
    cache = DynamicCache()
    cache.update(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2), 0)
    copy = copied(cache)
    copy.update(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), 0)
    return tokens_in(cache) == 3 and tokens_in(copy) == 5


def _is_named() -> bool:
    from transformers import LlamaForCausalLM

    return any(name in inspect.signature(LlamaForCausalLM.forward).parameters for name in _NAMES)


_OF_CACHES = (
    Canary("how a cache counts its tokens", "transformers", _keeps),
    Canary("what a forward calls its cache", "transformers", _is_named),
)


_ATTENTION, _EXPERTS = "_attn_implementation_internal", "_experts_implementation_internal"
_NAME = "which attention implementation a config chooses"

# For each backend the flag of a model's class, and the check that raises where it is not set. Releases before 5.1 know
# flash attention 2 by a check of its own.
_SUPPORT = {
    Backend.SDPA: ("_supports_sdpa", ("_sdpa_can_dispatch",)),
    Backend.FLEX: ("_supports_flex_attn", ("_flex_attn_can_dispatch",)),
    Backend.FLASH: ("_supports_flash_attn", ("_flash_attn_can_dispatch", "_flash_attn_2_can_dispatch")),
}


def implementation_of(config: Any) -> str:
    """The attention implementation a config chooses, such as "sdpa"; "eager" where it chooses none."""
    return str(getattr(config, "_attn_implementation", None) or "eager")


def configs_of(model: torch.nn.Module, besides: Container[str] = ()) -> list[PreTrainedConfig]:
    """The configs of a model's modules, each once.

    Args:
        model: The model.
        besides: Paths of modules whose configs do not count.
    """
    found: dict[int, PreTrainedConfig] = {}
    for path, module in model.named_modules():
        config = getattr(module, "config", None)
        if isinstance(config, PreTrainedConfig) and path not in besides:
            found[id(config)] = config
    return list(found.values())


def parts_of(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    """A config, and those of the parts of a composite model."""
    yield config
    for name in getattr(config, "sub_configs", None) or {}:
        part = getattr(config, name, None)
        if isinstance(part, PreTrainedConfig) and part is not config:
            yield from parts_of(part)


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and every module back into its own afterwards."""
    with alone():
        before = [(module, module.training) for module in model.modules()]
        try:
            model.train(False)
            yield
        finally:
            for module, training in before:
                module.training = training


@contextmanager
def running(
    model: PreTrainedModel, attention: str, *, experts: bool = False, besides: Container[str] = ()
) -> Iterator[None]:
    """Set an attention implementation on every config of a model, past the checks whether it can be had here.

    Args:
        model: The model.
        attention: Name of the implementation, such as "eager": attention that shows its weights.
        experts: Whether experts are to run "eager" too, which needs no kernel.
        besides: Paths of modules whose configs stay as they are.

    Raises:
        MovedError: configs keep it elsewhere, so that nothing would change.
    """
    wanted = {_ATTENTION: attention, _EXPERTS: "eager"} if experts else {_ATTENTION: attention}
    with alone():
        configs = configs_of(model, besides)
        if any(not hasattr(config, _ATTENTION) for config in configs):
            raise MovedError(_NAME)
        before = [(config, name, getattr(config, name)) for config in configs for name in wanted if has(config, name)]
        try:
            for config, name, _ in before:
                setattr(config, name, wanted[name])
            yield
        finally:
            for config, name, value in before:
                setattr(config, name, value)


def refusal_of(model: PreTrainedModel, backend: Backend) -> str:
    """What transformers says where a model's class does not support a backend; "" where it does.

    Whether the backend's package and device are on this machine is not asked.
    """
    if backend is Backend.EAGER:
        return ""
    flag, checks = _SUPPORT[backend]
    if getattr(model, flag, False):
        return ""
    check = next((getattr(model, name) for name in checks if hasattr(model, name)), None)
    try:
        if check is not None:
            check(*((2,) if backend is Backend.FLASH and check.__name__ == checks[0] else ()))
    except (ValueError, ImportError, AttributeError) as error:
        return str(error).partition(" Please")[0].rstrip(".")
    return f"{type(model).__name__} does not support {backend}"


def flash_instead(model: PreTrainedModel) -> str:
    """The flash attention that a model's class names in place of flash_attention_2; "" where it names none."""
    compatible = getattr(model, "_compatible_flash_implementations", None)
    return str(compatible[0]) if compatible and Backend.FLASH not in compatible else ""


def _chooses() -> bool:
    from transformers import LlamaConfig

    config = LlamaConfig(num_hidden_layers=1)
    setattr(config, _ATTENTION, "sdpa")
    return implementation_of(config) == "sdpa" and hasattr(config, _ATTENTION)


def _says_what_it_supports() -> bool:
    from transformers import LlamaForCausalLM

    flags = all(getattr(LlamaForCausalLM, flag, False) for flag, _ in _SUPPORT.values())
    return flags and all(any(has(LlamaForCausalLM, name) for name in checks) for _, checks in _SUPPORT.values())


_OF_IMPLEMENTATIONS = (
    Canary(_NAME, "transformers", _chooses),
    Canary("which backends a class supports", "transformers", _says_what_it_supports),
)

CANARIES = (*_OF_IMPLEMENTATIONS, *_OF_CACHES, *_OF_FLASH, *_OF_FLEX, *_OF_PROCESSES)
