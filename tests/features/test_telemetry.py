"""ONNX Runtime neither writes to a user's home nor calls home, both of which it would, unasked."""

import os
import subprocess
import sys

ONNX = """
from pathlib import Path
import onnx, sys
from pairjepa.embedder.onnx_embedder import _session
node = onnx.helper.make_node("Identity", ["a"], ["b"])
a, b = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "ab")
graph = onnx.helper.make_graph([node], "one", [a], [b])
model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
onnx.save(model, sys.argv[1] + "/text.onnx")
_session(Path(sys.argv[1]), "", "text")
"""


def test_nothing_is_written_to_the_home(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir(), work.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    done = subprocess.run(
        [sys.executable, "-c", ONNX, str(work)],
        env=kept | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not [path for path in home.rglob("*") if path.is_file()]
