"""From path and method to the operation: a small tree of path segments, literal before variable."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from gateway.errors import MethodNotAllowedError, NoSuchRouteError

T = TypeVar("T")


class RouteConflictError(TypeError):
    """Two declarations claim the same method and path."""


class _Node(Generic[T]):
    __slots__ = ("children", "targets", "variable")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.variable: _Node[T] | None = None
        self.targets: dict[str, T] = {}


class Router(Generic[T]):
    """Finds the target of a request; ``HEAD`` is served where ``GET`` is."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, method: str, path: str, target: T) -> None:
        """Add a route; a segment in braces matches any text."""
        node = self._root
        for segment in _segments(path):
            if segment.startswith("{"):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.children.setdefault(segment, _Node())
        if method in node.targets:
            raise RouteConflictError(f"{method} {path} is declared twice")
        node.targets[method] = target

    def find(self, method: str, path: str) -> tuple[T, Sequence[str]]:
        """Return the target and the texts of the variable segments.

        Raises NoSuchRouteError, or MethodNotAllowedError with the methods that there are.
        """
        values: list[str] = []
        node = _walk(self._root, _segments(path), 0, values)
        if node is None:
            raise NoSuchRouteError
        target = node.targets.get("GET" if method == "HEAD" else method)
        if target is None:
            raise MethodNotAllowedError(_allowed(node))
        return target, values

    def allowed(self, path: str) -> str:
        """Return the methods of a path, as the ``Allow`` header has them."""
        node = _walk(self._root, _segments(path), 0, [])
        if node is None:
            raise NoSuchRouteError
        return _allowed(node)


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _walk(node: _Node[T], segments: list[str], depth: int, values: list[str]) -> _Node[T] | None:
    if depth == len(segments):
        return node if node.targets else None
    segment = segments[depth]
    child = node.children.get(segment)
    if child is not None:
        found = _walk(child, segments, depth + 1, values)
        if found is not None:
            return found
    if node.variable is None:
        return None
    mark = len(values)
    values.append(segment)
    found = _walk(node.variable, segments, depth + 1, values)
    if found is None:
        del values[mark:]
    return found


def _allowed(node: _Node[T]) -> str:
    methods = set(node.targets) | {"OPTIONS"}
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))
