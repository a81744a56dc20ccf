"""Kokoro's ONNX graph with inputs for pitch, pitch range and vocal effort, made once and kept by hash.

Between its encoder and its decoder Kokoro predicts an F0 contour in Hz and an energy contour, each in one tensor with
one reader. New nodes between the two change the contours that the decoder speaks from:

    f0     -> exp(mean + f0_range * (log f0 - mean)) * f0_scale    on voiced frames, mean of log f0 over them
    energy -> energy + energy_shift

so the words, their timing and the timbre stay as they are. With 1, 1 and 0 the sound is that of the graph as it
came, but for rounding (a test holds that). The result lies in the user's cache directory (S2S_CACHE, else
XDG_CACHE_HOME, else ~/.cache) under the hash of the weights and of this recipe; a damaged or half-written one is made
anew.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1
"""Raise it when the nodes change."""
F0 = "/encoder/F0_proj/Conv_output_0"
ENERGY = "/encoder/N_proj/Conv_output_0"
VOICED_ABOVE = 20.0
"""Hz. Kokoro's own source falls silent below 10; its contour glides between 0 and the voice."""
NEUTRAL = {"f0_scale": 1.0, "f0_range": 1.0, "energy_shift": 0.0}
"""The new inputs, float32 of shape (1,), and the values that change nothing."""


def cached_graph(model: bytes) -> Path | bytes:
    """The graph with its new inputs: a file in the cache, or the bytes where no cache can be written."""
    name = hashlib.sha256(hashlib.sha256(model).digest() + f"controls {VERSION}".encode()).hexdigest()
    path = cache_directory() / f"kokoro-{name[:32]}.onnx"
    if _intact(path):
        return path
    graph = with_controls(model)
    try:
        _store(path, graph)
    except OSError:
        return graph
    return path


def cache_directory() -> Path:
    """Where derived files of models lie."""
    root = os.environ.get("S2S_CACHE")
    if root:
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opens2s-forge"


def _digest(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _intact(path: Path) -> bool:
    try:
        return _digest(path).read_text().strip() == hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return False


def _store(path: Path, graph: bytes) -> None:
    # Several processes may do this at once: each writes its own file and renames it; all contents are equal.
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, content in ((path, graph), (_digest(path), hashlib.sha256(graph).hexdigest().encode())):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def with_controls(model: bytes) -> bytes:
    """The graph with the inputs of NEUTRAL.

    Args:
        model: Kokoro-82M as ONNX.

    Raises:
        ValueError: it is another graph: the contours are not where they should be.
    """
    import onnx
    from onnx import TensorProto, helper

    proto = onnx.load_from_string(model)
    graph = proto.graph
    last = max((i for i, node in enumerate(graph.node) if {F0, ENERGY} & set(node.output)), default=-1)
    readers = [node for node in graph.node if {F0, ENERGY} & set(node.input)]
    if last < 0 or len(readers) != 2:
        raise ValueError(f"This ONNX graph has no contours named {F0} and {ENERGY} with one reader each.")
    for node in readers:
        node.input[:] = [{F0: "s2s/f0", ENERGY: "s2s/energy"}.get(name, name) for name in node.input]
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in NEUTRAL)
    graph.initializer.extend(_constants())
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes[: last + 1], *_nodes(), *nodes[last + 1 :]])
    return bytes(proto.SerializeToString())


def _constants() -> list[Any]:
    from onnx import numpy_helper

    values = {"s2s/threshold": VOICED_ABOVE, "s2s/one": 1.0}
    return [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in values.items()]


def _nodes() -> list[Any]:
    from onnx import TensorProto
    from onnx.helper import make_node

    return [
        make_node("Greater", [F0, "s2s/threshold"], ["s2s/voiced"]),
        make_node("Cast", ["s2s/voiced"], ["s2s/mask"], to=TensorProto.FLOAT),
        make_node("Max", [F0, "s2s/one"], ["s2s/positive"]),  # keeps the logarithm finite where it is not used
        make_node("Log", ["s2s/positive"], ["s2s/log"]),
        make_node("Mul", ["s2s/log", "s2s/mask"], ["s2s/log_voiced"]),
        make_node("ReduceSum", ["s2s/log_voiced"], ["s2s/sum"], keepdims=1),
        make_node("ReduceSum", ["s2s/mask"], ["s2s/count"], keepdims=1),
        make_node("Max", ["s2s/count", "s2s/one"], ["s2s/divisor"]),
        make_node("Div", ["s2s/sum", "s2s/divisor"], ["s2s/mean"]),
        make_node("Sub", ["s2s/log", "s2s/mean"], ["s2s/deviation"]),
        make_node("Mul", ["s2s/deviation", "f0_range"], ["s2s/widened"]),
        make_node("Add", ["s2s/widened", "s2s/mean"], ["s2s/log_new"]),
        make_node("Exp", ["s2s/log_new"], ["s2s/new"]),
        make_node("Mul", ["s2s/new", "f0_scale"], ["s2s/scaled"]),
        make_node("Where", ["s2s/voiced", "s2s/scaled", F0], ["s2s/f0"]),
        make_node("Add", [ENERGY, "energy_shift"], ["s2s/energy"]),
    ]
