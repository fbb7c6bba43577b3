"""EZKL on one matrix-vector product: an ONNX graph of one MatMul with a constant matrix.

    ezkl_matvec.py FOLDER SIZE

Everything that does not depend on the input is made once and kept in FOLDER: graph, settings, compiled circuit, SRS
(EZKL's own test SRS: nothing is downloaded) and keys. Run arguments are EZKL's defaults: fixed parameters, public input
and output; the settings are calibrated with its defaults. Then each line `round` is answered by one line of JSON with
the time of one `ezkl.prove`, its witness, and one `ezkl.verify`.
"""

import json
import os
import sys
import time

import ezkl
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder, size = sys.argv[1], int(sys.argv[2])
os.makedirs(folder, exist_ok=True)


def at(name):
    return os.path.join(folder, name)


def say(text):
    print(f"ezkl: {text}", file=sys.stderr, flush=True)


def graph():
    rng = np.random.default_rng(1)
    matrix = (rng.standard_normal((size, size)) / np.sqrt(size)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    shape = [1, size]
    g = helper.make_graph(
        [node],
        "matvec",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(matrix, "w")],
    )
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), at("model.onnx"))
    x = rng.standard_normal(size).astype(np.float32)
    with open(at("input.json"), "w") as f:
        json.dump({"input_data": [x.tolist()]}, f)


def timed(what, f, *args, **kwargs):
    start = time.monotonic()
    done = f(*args, **kwargs)
    if done is False:
        sys.exit(f"ezkl: {what} failed")
    return time.monotonic() - start


def setup():
    graph()
    timed("gen_settings", ezkl.gen_settings, at("model.onnx"), at("settings.json"))
    timed("calibrate_settings", ezkl.calibrate_settings, at("input.json"), at("model.onnx"), at("settings.json"), "resources")
    timed("compile_circuit", ezkl.compile_circuit, at("model.onnx"), at("model.compiled"), at("settings.json"))
    logrows = json.load(open(at("settings.json")))["run_args"]["logrows"]
    say(f"2^{logrows} rows")
    timed("gen_srs", ezkl.gen_srs, at("srs"), logrows)
    seconds = timed("setup", ezkl.setup, at("model.compiled"), at("vk"), at("pk"), at("srs"))
    say(f"keys in {seconds:.0f} s")
    with open(at("done"), "w") as f:
        f.write(ezkl.__version__)


try:
    known = open(at("done")).read()
except FileNotFoundError:
    known = ""
if known != ezkl.__version__:
    say(f"making keys in {folder} (two minutes, once)")
    setup()

for line in sys.stdin:
    if line.strip() != "round":
        sys.exit(f"unknown command {line!r}")
    witness = timed("gen_witness", ezkl.gen_witness, at("input.json"), at("model.compiled"), at("witness.json"))
    prove = timed(
        "prove", ezkl.prove, at("witness.json"), at("model.compiled"), at("pk"), at("proof.json"), srs_path=at("srs")
    )
    verify = timed("verify", ezkl.verify, at("proof.json"), at("settings.json"), at("vk"), srs_path=at("srs"))
    print(json.dumps({"witness_s": witness, "prove_s": prove, "verify_s": verify}), flush=True)
