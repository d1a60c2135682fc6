"""The names of torchvision that timm imports; its networks use none of them.

torchvision itself would bring another build of torch.
"""

import enum
import sys
from types import ModuleType

NAMES = {
    "datasets": ("CIFAR10", "CIFAR100", "FashionMNIST", "ImageFolder", "KMNIST", "MNIST"),
    "ops": (),
    "ops.misc": ("FrozenBatchNorm2d",),
    "transforms": ("ToTensor",),
    "transforms.functional": (),
}
MODES = "NEAREST BILINEAR BICUBIC BOX HAMMING LANCZOS"

__path__: list[str] = []
for path, names in NAMES.items():
    module = sys.modules[f"{__name__}.{path}"] = ModuleType(f"{__name__}.{path}")
    for name in names:
        setattr(module, name, type(name, (), {}))
modes = enum.Enum("InterpolationMode", MODES)  # type: ignore[misc]  # its names are read from a string
vars(sys.modules[f"{__name__}.transforms.functional"])["InterpolationMode"] = modes
