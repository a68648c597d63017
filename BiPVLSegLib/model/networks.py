"""Which class builds the network that a configuration names: ours, or one that ours is compared with."""

from __future__ import annotations

from transformers import PreTrainedModel


def network_class(name: str) -> type[PreTrainedModel]:
    """The class of ``BiPVLSegConfig.network``.

    Raises:
        ValueError: there is no such network.
    """
    from .bipvlseg import BiPVLSegModel  # imported late: build_model, in the same file, asks here
    from .clip_driven import ClipDrivenModel
    from .whole_networks import DynUNetModel, SwinUNETRModel, SwinUNETRSlicesModel

    classes = {
        "bipvlseg": BiPVLSegModel,
        "clip-driven": ClipDrivenModel,
        "dynunet": DynUNetModel,
        "swin-unetr": SwinUNETRModel,
        "swin-unetr-2d": SwinUNETRSlicesModel,
    }
    if name not in classes:
        raise ValueError(f"there is no network '{name}'; there are {', '.join(classes)}")
    return classes[name]
