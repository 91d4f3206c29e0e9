"""Members of an ensemble: networks, descriptors fitted on train, descriptors without weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegative, NotNegativeInt, Positive, Share
from isckit.config.local import Keypoints
from isckit.config.training import Stage


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Backbone:
    """The backbone and its changes.

    Attributes:
        pretrained: "none", "hub" (fetched by timm) or a weight file, in timm's, torchvision's or its authors' layout.
        cut: "stages" leaves out the convolution after the last stage (EfficientNets' head), "last_stage" a ResNet's
            last stage (HOW).
        stride16: the last stage of a ResNet keeps its resolution.
        wave: WaveBlock after stages 2 and 3.
        ibn: IBN-a.
        window: of a windowed transformer, in tokens; 0 for its own.
        blocks: of a windowed transformer, the mean tokens of the last so many blocks, the last stage's normed, side by
            side in place of its map (EsViT; imgFp takes four); 0 leaves the map.
        normalisation: of the input, the backbone's own, or ImageNet's mean and standard deviation.
        frozen: parts that keep weights and batch statistics: none, all but the last stage of a ResNet, or all.
        shallow: two shallow convolutions of the image stand beside the pooled features (DeepRank, Wang et al. 2014).
    """

    name: str = "mobilenetv4_conv_small"
    pretrained: str = "none"
    cut: Literal["head", "stages", "last_stage"] = "head"
    stride16: bool = False
    wave: bool = False
    ibn: bool = False
    window: NotNegativeInt = 0
    blocks: NotNegativeInt = 0
    normalisation: Literal["backbone", "imagenet"] = "backbone"
    frozen: Literal["none", "but_last", "all"] = "none"
    shallow: bool = False

    def __post_init__(self) -> None:
        if self.cut == "last_stage" and (self.stride16 or self.frozen == "but_last"):
            raise ValueError("cut=last_stage leaves no last stage to keep the resolution of, or to train alone")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Head:
    """From pooled features to the embedding.

    Attributes:
        kind: "linear", a layer; "projector", visionForce's, with a block to `dim` behind; "none", the pooled features
            themselves (MultiGrain), whose number is the network's `dim`; "dense", dropout, a layer of widths[0] with
            ReLU and BatchNorm, a layer to `dim` (Parajuli); "deep_rank", two layers of `widths` on the deep branch,
            each with ReLU and dropout, then beside the two shallow ones a layer to `dim`.
        bias, norm: of the linear layer; norm is a BatchNorm after it.
        whitened: the linear layer is the PCA whitening of local features of train images when training begins, and
            stays so (HOW).
    """

    kind: Literal["linear", "projector", "none", "dense", "deep_rank"] = "linear"
    bias: bool = False
    norm: bool = True
    widths: tuple[Count, Count] = (4096, 8192)
    dropout: Share = 0.0
    whitened: bool = False

    def __post_init__(self) -> None:
        if self.whitened and (self.kind != "linear" or not self.bias or self.norm):
            raise ValueError("whitened is for a linear head with bias=true and norm=false")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Network:
    """Ensemble member: backbone + pooling + head + L2.

    Attributes:
        pooling: in place of GeM: "mean", for features that may be negative; "token", the class token of a transformer;
            "flatten", every position of the map, which fits one image size only; "attention", the smoothed map weighted
            by the length of its features (HOW).
        gem_p_at_test: power used outside training; None for the one of training.
        image_size: side to which views, cut from the canvas, are resized.
        scales: sides in its place; the unit vectors are averaged, mirrored ones too where `flip` is set.
        canvas: side of the square that images are reduced to, once, and views are cut from.
        grey: the network sees grey pictures, in training and at test.
        blur: Gaussian radius, in pixels of the image as it is, for references and train images when they are described,
            never for queries (D2LV's blur sets).
        weights_of: an earlier network whose weights this one uses, at other settings; it has no stages of its own.
    """

    kind: Literal["network"] = "network"
    name: str = "network"
    backbone: Backbone = Backbone()
    head: Head = Head()
    dim: Count = 256
    pooling: Literal["gem", "mean", "token", "flatten", "attention"] = "gem"
    gem_p: Positive = 3.0
    gem_learnable: bool = True
    gem_p_at_test: Positive | None = None
    image_size: Count = 160
    scales: tuple[Count, ...] = ()
    flip: bool = False
    canvas: Count = 320
    grey: bool = False
    blur: NotNegative = 0.0
    weights_of: str = ""
    weight: Positive = 1.0
    stages: tuple[Stage, ...] = (Stage(),)

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names) or any("." in name or "/" in name for name in names):
            raise ValueError(f"stages need distinct names without '.' and '/', got {names}")
        if self.weights_of and self.stages:
            raise ValueError(f"{self.name} uses the weights of {self.weights_of}: it needs stages=()")
        if (self.head.kind == "deep_rank") != self.backbone.shallow:
            raise ValueError("head deep_rank and backbone.shallow go together")
        sizes = {*self.scales, *(stage.image_size for stage in self.stages)} - {0, self.image_size}
        if sizes and (self.backbone.shallow or self.pooling == "flatten"):
            raise ValueError(f"{self.name} sees images of {self.image_size} pixels only, not of {sorted(sizes)}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gist:
    """Ensemble member without weights: colour GIST, 960-d (Oliva & Torralba 2001; the organisers' baseline)."""

    kind: Literal["gist"] = "gist"
    name: str = "gist"
    weight: Positive = 1.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Hash:
    """Ensemble member without weights: a perceptual hash as a vector of its bits, +1 and -1, at unit length.

    The inner product of two is 1 - 2 * Hamming distance / bits.

    Attributes:
        method: "pdq", 256 bits (Davis & Rosen 2019); "phash", 64 bits of the lowest frequencies of a 32 x 32 picture.
    """

    kind: Literal["hash"] = "hash"
    name: str = "hash"
    method: Literal["pdq", "phash"] = "pdq"
    weight: Positive = 1.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Fisher:
    """Ensemble member: the Fisher vector of an image's RootSIFT (Jegou et al. 2012).

    Attributes:
        words: Gaussians of the mixture.
        reduced: values of a descriptor after PCA.
        dim: values of a vector after PCA.
        whiten: power of the variance that the vectors' PCA divides by (0.5 full whitening).
        fit_images: train images that all of it is fitted on.
    """

    kind: Literal["fisher"] = "fisher"
    name: str = "fisher"
    keypoints: Keypoints = Keypoints(short_side=200, points=400, least=1, contrast=0.02, edge=20.0)
    words: Count = 128
    reduced: Count = 32
    dim: Count = 256
    whiten: NotNegative = 0.5
    fit_images: Count = 10_000
    weight: Positive = 1.0

    def __post_init__(self) -> None:
        if self.keypoints.kind != "sift" or not self.keypoints.points:
            raise ValueError("a Fisher vector is made of the strongest SIFT points: kind=sift and points above 0")


Member = Annotated[Network | Gist | Hash | Fisher, Field(discriminator="kind")]
