"""Public names of a package that are imported when they are first used.

`import pelagia_training` must not import torch, and a worker process needs few of the names: so each package's
`__init__` lists its public names with the modules that define them, and `lazy_names` imports them.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the functions ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: the package's ``__name__``.
        modules: public name -> full name of the module that defines it.

    A public name wins over a submodule of the same name, in whichever order they are imported: ``package.train`` is
    the function also after ``import package.train``. ``from package.train import ...`` reaches the submodule.
    """
    loaded = sys.modules[package]
    loaded.__class__ = _Package

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(modules[name]), name)

    def names() -> list[str]:
        return sorted({*vars(loaded), *modules})

    return get, names


class _Package(ModuleType):
    """A package in which a submodule does not replace a public name."""

    def __setattr__(self, name: str, value: object) -> None:
        """Python calls this on the package when it has imported a submodule."""
        if not (isinstance(value, ModuleType) and name in self.__dict__.get("__all__", ())):
            super().__setattr__(name, value)
