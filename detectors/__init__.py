"""The rules. Every public module here is one rule, found by itself: add a file and its test, and nothing else.

Nothing in here reads a clock, a file or a database.
"""

import inspect
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from detectors._contract import DeadlineRule, Given, Rule, View, deadline_of

__all__ = ["RULES", "DeadlineRule", "Given", "Rule", "View", "deadline_of"]


def _discover() -> Mapping[str, Rule]:
    rules: dict[str, Rule] = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.name.startswith("_"):
            continue
        module = import_module(f"{__name__}.{module_info.name}")
        own = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
        assert len(own) == 1, f"detectors/{module_info.name}.py must define exactly one class, its rule"
        rule = own[0]()
        assert isinstance(rule, Rule), f"detectors/{module_info.name}.py: {own[0].__name__} is no Rule"
        rules[module_info.name] = rule
    # A rule that counts from another's deadline is asked after it.
    return MappingProxyType(
        dict(sorted(rules.items(), key=lambda item: (getattr(item[1], "after", None) or "", item[0])))
    )


RULES: Final[Mapping[str, Rule]] = _discover()
"""All rules by code. The code is the module's name."""
