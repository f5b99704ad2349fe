"""YAML of users: plain values only, no key twice, and none that is small to write and huge to read."""

from typing import Any

import yaml

from exec_env.base.errors import InputError
from exec_env.base.validation import shown

LONGEST = 2**18  # characters of a text, which take seconds at worst
_LARGEST = 2**20  # characters and nodes, with every alias in full
_DEEPEST = 40  # levels
_NAMELESS = 'in "<unicode string>", '


def parse(text: str, what: str) -> Any:
    """The value of one YAML document.

    Raises:
        InputError: one sentence that begins with ``what``, with line and column where they are known: for what is no
            YAML, would build anything but plain values, has a key twice, or is too long, too deep or too large.
    """
    if len(text) > LONGEST:
        raise InputError(f"{what}: {len(text):,} characters; at most {LONGEST:,} are read")
    try:
        return yaml.load(text, _Plain)
    except RecursionError:
        raise InputError(f"{what}: is deeper than {_DEEPEST} levels") from None
    # PyYAML's ValueErrors: 2024-02-31, and a number of thousands of digits.
    except (ValueError, TypeError, OverflowError, AttributeError, yaml.YAMLError) as error:
        raise InputError(f"{what}: {' '.join(str(error).replace(_NAMELESS, 'in ').split())}") from None


def yaml_value(text: str, what: str) -> Any:
    """A value as YAML writes it: a number, a name, a list.

    Raises:
        InputError: naming ``what``, for anything that is no plain value.
    """
    return parse(text, f"{what} = {shown(text)}: no value")


class _Plain(yaml.SafeLoader):
    """The safe loader, which looks at the whole document before it builds anything."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}
        self._open: set[str] = set()

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node, of which depth and size are known."""
        anchor: Any = getattr(self.peek_event(), "anchor", None)
        alias = self.check_event(yaml.events.AliasEvent)
        if alias and anchor in self._open:
            raise _refused("an alias to what it stands in", self.peek_event())
        if self._depth == _DEEPEST:
            raise _refused(f"more than {_DEEPEST} levels", self.peek_event())
        fresh = not alias and anchor is not None
        if fresh:
            self._open.add(anchor)
        self._depth += 1
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if fresh:
            self._open.discard(anchor)
        if not alias:
            self._sizes[id(node)] = size = self._size(node)
            if size > _LARGEST:
                raise _refused(f"more than {_LARGEST:,} characters, its aliases in full", node)
        return node

    def _size(self, node: Any) -> int:
        """Characters and nodes, with every alias in full."""
        if isinstance(node, yaml.ScalarNode):
            return 1 + len(node.value)
        pairs = node.value if isinstance(node, yaml.MappingNode) else [(child,) for child in node.value]
        return 1 + sum(self._sizes[id(child)] for pair in pairs for child in pair)

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping, no key of which comes twice."""
        node: Any = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue  # the one is refused where it is built, the other brings keys that may be overridden
            name: Any = self.construct_object(key)
            if name in lines:
                raise _refused(f"the key {key.value!r} a second time, after line {lines[name] + 1}", key)
            lines[name] = key.start_mark.line
        return node


def _refused(why: str, where: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, why, where.start_mark)
