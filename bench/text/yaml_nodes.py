"""A YAML document's nodes, before anything is made of them."""

from collections.abc import Iterator

import yaml


def walk_nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield `root` and all in it in the file's order, keys among them.

    Each node comes once, however many aliases stand for it: aliases of aliases are more than can be walked.
    """
    waiting, seen = [root], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, yaml.CollectionNode):
            for inner in reversed(found.value):
                waiting += reversed(inner) if isinstance(found, yaml.MappingNode) else [inner]
