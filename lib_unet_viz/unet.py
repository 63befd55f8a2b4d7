"""Where a U-Net can be looked into: its blocks and attentions, found by shape and under one set of names.

Blocks are named as in the original Stable Diffusion code (ldm): ``IN00``... the input blocks, ``M00`` the
middle block, ``OUT00``... the output blocks. The same names are given to diffusers'
``UNet2DConditionModel``, whose resnets, attentions and samplers are the same layers, grouped differently.

Nothing here imports a model's code, and no class is asked for: Forge's Linear is not ``torch.nn.Linear``
(backend/operations.py:137), and a PEFT layer wraps another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn

from lib_unet_viz.notation.specs import Layout, SpecError

Kind = Literal["cross", "self"]
Size = tuple[int, int]

_LDM_PARTS = ("input_blocks", "middle_block", "output_blocks")
_DIFFUSERS_PARTS = ("conv_in", "down_blocks", "up_blocks")
_ATTENTION_PARTS = ("to_q", "to_k", "to_v", "to_out", "heads")


class UnsupportedModelError(ValueError):
    """The given module is no U-Net of the kinds known here; the message names its class and what is
    supported.
    """

    def __init__(self, module: object) -> None:
        super().__init__(
            f"{type(module).__name__} has no U-Net blocks to look into. Supported: the U-Net of Stable "
            f"Diffusion 1, 2 and XL in the ldm/sgm layout ({', '.join(_LDM_PARTS)}; webui, Forge) or as "
            f"diffusers' UNet2DConditionModel ({', '.join(_DIFFUSERS_PARTS)}). Transformer models (SD 3, "
            "Flux, PixArt) have none."
        )


@dataclass(frozen=True, eq=False)
class AttentionSite:
    """One attention of a block: the four linear layers that every attention implementation calls, and its
    numbers. `module` is the attention itself.
    """

    block: str
    layer: int
    kind: Kind
    to_q: nn.Module
    to_k: nn.Module
    to_v: nn.Module
    to_out: nn.Module
    heads: int
    scale: float
    level: int
    module: nn.Module

    @property
    def name(self) -> str:
        """Such as ``OUT04.0 cross``."""
        return f"{self.block}.{self.layer} {self.kind}"

    @property
    def projections(self) -> list[tuple[nn.Module, str]]:
        """The layers that put out q, k and v, each with which of these, side by side, are in its output.

        diffusers' `fuse_qkv_projections` adds layers for several at once, which are called in their place
        (attention_processor.py, Attention.fuse_projections).
        """
        fused = [(getattr(self.module, f"to_{parts}", None), parts) for parts in ("qkv", "kv")]
        there = [(layer, parts) for layer, parts in fused if layer is not None]
        return [(self.to_q, "q"), (self.to_k, "k"), (self.to_v, "v"), *there]

    @property
    def looks_elsewhere(self) -> bool:
        """Whether it adds an attention to something else than text: the image of diffusers' IP-Adapter."""
        return hasattr(getattr(self.module, "processor", None), "to_k_ip")

    @property
    def channels(self) -> int:
        """Channels of Q, K and V over all heads."""
        return _features(self.to_q)

    def size(self, latent: Size) -> Size:
        """(height, width) of the queries for a latent of this (height, width)."""
        return halved(latent, self.level)


@dataclass(frozen=True, eq=False)
class Block:
    """One block. Its input is the first argument of ``input_module``, its output what ``output_module``
    returns; ``modules`` are all of it, in calling order.
    """

    name: str
    input_module: nn.Module
    output_module: nn.Module
    in_channels: int
    out_channels: int
    level: int
    out_level: int
    sites: tuple[AttentionSite, ...] = field(repr=False)
    modules: tuple[nn.Module, ...] = field(repr=False)

    @property
    def cross(self) -> int:
        """How many cross-attentions it has; 0 means that no prompt reaches it."""
        return sum(site.kind == "cross" for site in self.sites)

    @property
    def depth(self) -> int:
        """Transformer layers that the prompt reaches."""
        return len({site.layer for site in self.sites if site.kind == "cross"})

    @property
    def heads(self) -> int:
        """Attention heads; 0 in a block without attention."""
        return self.sites[0].heads if self.sites else 0

    def shapes(self, size: Size) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Input and output shape (channel, y, x) for a latent of this (height, width)."""
        return (
            (self.in_channels, *halved(size, self.level)),
            (self.out_channels, *halved(size, self.out_level)),
        )


@dataclass(frozen=True, eq=False)
class UNet:
    """A U-Net's blocks in the order in which they run; made by `UNet.of`."""

    module: nn.Module
    blocks: Mapping[str, Block]

    @classmethod
    def of(cls, module: UNet | nn.Module) -> UNet:
        """Find the blocks of a U-Net in the ldm, sgm, Forge or diffusers layout.

        Raises UnsupportedModelError for anything else.
        """
        if isinstance(module, UNet):
            return module
        if _has(module, _LDM_PARTS):
            parts = _ldm_parts(module)
        elif _has(module, _DIFFUSERS_PARTS) and _blocks_have_resnets(module):
            parts = _diffusers_parts(module)
        else:
            raise UnsupportedModelError(module)
        return cls(module, MappingProxyType({block.name: block for block in _blocks(parts)}))

    @property
    def layout(self) -> Layout:
        return Layout(tuple(self.blocks), {name: block.depth for name, block in self.blocks.items()})

    @property
    def sites(self) -> list[AttentionSite]:
        """Every attention, in the order in which they run."""
        return [site for block in self.blocks.values() for site in block.sites]

    def attention(self, block: str) -> list[AttentionSite]:
        """The attentions of one block, self before cross in each layer.

        Raises SpecError if there is no such block.
        """
        if block not in self.blocks:
            raise SpecError(f"this model has no block {block}", block, 0, len(block), tuple(self.blocks))
        return list(self.blocks[block].sites)


def halved(size: Size, times: int) -> Size:
    """(height, width) after that many stride-2 convolutions with padding 1, which round up."""
    height, width = size
    for _ in range(times):
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


@dataclass(frozen=True, eq=False)
class _Part:
    """The modules of one block in calling order, before levels are known."""

    name: str
    modules: tuple[nn.Module, ...]
    halves: bool = False


def _has(module: object, names: Iterable[str]) -> bool:
    return all(getattr(module, name, None) is not None for name in names)


def _blocks_have_resnets(module: Any) -> bool:
    return all(_has(block, ["resnets"]) for block in [*module.down_blocks, *module.up_blocks])


def _ldm_parts(module: Any) -> list[_Part]:
    return [
        *(_Part(f"IN{i:02}", (block,), _halves(block)) for i, block in enumerate(module.input_blocks)),
        _Part("M00", (module.middle_block,)),
        *(_Part(f"OUT{i:02}", (block,)) for i, block in enumerate(module.output_blocks)),
    ]


def _halves(module: nn.Module) -> bool:
    """True for a down-sampling block: only its convolution or pooling has stride 2."""
    return any(getattr(part, "stride", 1) in (2, (2, 2)) for part in module.modules())


def _diffusers_parts(module: Any) -> list[_Part]:
    """ldm's blocks out of diffusers' groups: a resnet with its attention is one, and so is a down-sampler.

    An up-sampler belongs to the last resnet before it (ldm, openaimodel.py:
    ``layers.append(Upsample(...))``).
    """
    inputs: list[tuple[tuple[nn.Module, ...], bool]] = [((module.conv_in,), False)]
    for group in module.down_blocks:
        inputs += [(pair, False) for pair in _resnets_with_attention(group)]
        inputs += [((sampler,), True) for sampler in getattr(group, "downsamplers", None) or ()]
    outputs: list[tuple[nn.Module, ...]] = []
    for group in module.up_blocks:
        outputs += _resnets_with_attention(group)
        outputs[-1] += tuple(getattr(group, "upsamplers", None) or ())
    return [
        *(_Part(f"IN{i:02}", modules, halves) for i, (modules, halves) in enumerate(inputs)),
        # Distilled models such as segmind/tiny-sd have no middle block.
        *(_Part("M00", (block,)) for block in [getattr(module, "mid_block", None)] if block is not None),
        *(_Part(f"OUT{i:02}", modules) for i, modules in enumerate(outputs)),
    ]


def _resnets_with_attention(group: Any) -> list[tuple[nn.Module, ...]]:
    attentions = getattr(group, "attentions", None) or [None] * len(group.resnets)
    return [
        (resnet,) if attention is None else (resnet, attention)
        for resnet, attention in zip(group.resnets, attentions, strict=True)
    ]


def _blocks(parts: list[_Part]) -> Iterator[Block]:
    outgoing = 0
    for part, (level, out_level) in zip(parts, _levels(parts), strict=True):
        convolutions = [shape for module in part.modules for shape in _convolutions(module)]
        # A pooling down-sampler has no weights: it takes and gives what the block before it gave.
        incoming = convolutions[0][1] if convolutions else outgoing
        outgoing = convolutions[-1][0] if convolutions else outgoing
        yield Block(
            part.name,
            part.modules[0],
            part.modules[-1],
            incoming,
            outgoing,
            level,
            out_level,
            tuple(_sites(part, level)),
            part.modules,
        )


def _levels(parts: list[_Part]) -> list[tuple[int, int]]:
    """How often the latent was halved before and after each block.

    An output block is joined with the output of the input block that mirrors it, so it has that one's size,
    and it hands on the size of the next one: this needs no look at how up-sampling is done.
    """
    inputs = [part for part in parts if part.name.startswith("IN")]
    outputs = [part for part in parts if part.name.startswith("OUT")]
    after = [0]
    for part in inputs:
        after.append(after[-1] + part.halves)
    mirrored = [*reversed(after[1:]), 0]
    if len(outputs) != len(inputs):
        counts = f"{len(inputs)} and {len(outputs)}"
        raise ValueError(f"a U-Net has as many input as output blocks; this one has {counts}")
    middle = [(after[-1], after[-1])] * (len(parts) - 2 * len(inputs))
    return [*pairwise(after), *middle, *pairwise(mirrored)]


def _convolutions(module: nn.Module) -> Iterator[tuple[int, ...]]:
    """Shapes (out, in, y, x) of the module's convolution weights in calling order."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            yield tuple(parameter.shape)


def _sites(part: _Part, level: int) -> Iterator[AttentionSite]:
    layers: dict[tuple[int, str], int] = {}
    for number, root in enumerate(part.modules):
        for path, module in root.named_modules():
            if not _has(module, _ATTENTION_PARTS):
                continue
            parent, _, name = path.rpartition(".")
            if name == "attn1" and _sees_the_prompt(root.get_submodule(parent)):
                continue
            layer = layers.setdefault((number, parent), len(layers))
            yield _site(part.name, layer, "cross" if name == "attn2" else "self", module, level)


def _sees_the_prompt(transformer: nn.Module) -> bool:
    """A first attention on the prompt is neither self nor the layer's cross-attention (SD's x4 up-scaler
    has some).
    """
    names = ("disable_self_attn", "only_cross_attention")
    return any(getattr(transformer, name, False) for name in names)


def _site(block: str, layer: int, kind: Kind, module: Any, level: int) -> AttentionSite:
    scale = getattr(module, "scale", None)
    heads = int(module.heads)
    return AttentionSite(
        block=block,
        layer=layer,
        kind=kind,
        to_q=module.to_q,
        to_k=module.to_k,
        to_v=module.to_v,
        to_out=module.to_out[0],
        heads=heads,
        # Forge's CrossAttention has no scale (backend/nn/unet.py); all of them use this one.
        scale=float(scale) if scale is not None else (_features(module.to_q) // heads) ** -0.5,
        level=level,
        module=module,
    )


def _features(linear: nn.Module) -> int:
    """Output features of a linear layer, also where its weight is packed (quantized) or wrapped (LoRA)."""
    features: int | None = getattr(linear, "out_features", None)
    weight: Tensor = linear.weight  # type: ignore[assignment]
    return int(weight.shape[0] if features is None else features)
