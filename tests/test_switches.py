"""Nothing that holds for the whole process is changed for a moment: an app serves many visitors on many threads.

A call of the right name in the package is looked up in the short list of those that are meant: once, before others run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.app import ROOT
from scripts.draw_architecture import parsed

# Names of functions, as they are called, that change the whole process.
CALLS = {
    "warnings.catch_warnings", "warnings.filterwarnings", "warnings.simplefilter", "warnings.resetwarnings",
    "torch.set_num_threads", "torch.set_num_interop_threads", "torch.set_default_dtype", "torch.set_default_device",
    "torch.set_float32_matmul_precision", "torch.use_deterministic_algorithms", "torch.set_printoptions",
    "threadpool_limits", "threadpoolctl.threadpool_limits",
    "torch.manual_seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.seed",
    "random.seed", "np.random.seed", "numpy.random.seed", "np.seterr", "np.set_printoptions",
    "os.chdir", "os.umask", "os.putenv", "os.unsetenv", "os.environ.update", "os.environ.setdefault",
    "os.environ.pop", "os.environ.clear", "locale.setlocale", "signal.signal", "socket.setdefaulttimeout",
    "sys.setrecursionlimit", "sys.settrace", "sys.setprofile", "threading.settrace",
    "contextlib.redirect_stdout", "contextlib.redirect_stderr", "contextlib.chdir", "redirect_stdout",
    "redirect_stderr", "logging.disable", "logging.basicConfig", "gc.disable", "gc.freeze",
    "matplotlib.use", "matplotlib.rc_context", "rc_context", "plt.figure", "plt.subplots", "pyplot.figure",
    # These trace, and patch modules while they do.
    "torch.jit.trace", "torch.jit.script", "torch.export.export", "torch.fx.symbolic_trace", "fx.symbolic_trace",
    "symbolic_trace", "torch.compile", "torch.onnx.export",
}  # fmt: skip
# What is assigned to, and changes the whole process.
TARGETS = {
    "sys.stdout", "sys.stderr", "sys.stdin", "sys.excepthook", "sys.path", "os.environ",
    "Image.MAX_IMAGE_PIXELS", "ImageFile.LOAD_TRUNCATED_IMAGES", "PIL.Image.MAX_IMAGE_PIXELS",
    "torch.backends", "plt.rcParams", "matplotlib.rcParams", "pio.templates", "warnings.showwarning",
    "warnings.formatwarning", "nn.Module", "torch.nn.Module",
}  # fmt: skip
IMPORTS = {"torch.fx", "matplotlib.pyplot", "torch._dynamo"}

# Where it is meant: file, what, and why.
ALLOWED = {
    ("spatial_viz/app/main.py", "gc.freeze"): "once, after the first run",
    ("spatial_viz/cli/main.py", "warnings.filterwarnings"): "once, at the start of a command",
    ("spatial_viz/cli/main.py", "warnings.showwarning"): "once, at the start of a command",
    ("spatial_viz/models/devices.py", "torch.backends"): "once, before the first sweep",
    ("spatial_viz/evaluation/ray_engine.py", "torch.set_num_threads"): "in a worker process of its own",
    ("spatial_viz/models/engine.py", "threadpool_limits"): "OpenMP's limit is that of the thread that asks",
    ("spatial_viz/training/trainer.py", "torch.manual_seed"): "in a command that trains, before it begins",
}


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of an expression of names, else ""."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def switches(text: str) -> Iterator[str]:
    """What a module's text changes for the whole process."""
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.Call) and dotted(node.func) in CALLS:
            yield dotted(node.func)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            base = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                name = ".".join(filter(None, (base, alias.name)))
                yield from {each for each in IMPORTS if name == each or name.startswith(f"{each}.")}
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
            targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
            for target in targets:
                place = dotted(target.value if isinstance(target, ast.Subscript) else target)
                yield from {each for each in TARGETS if place == each or place.startswith(f"{each}.")}


def found() -> set[tuple[str, str]]:
    files = [ROOT / "app.py", *sorted((ROOT / "spatial_viz").rglob("*.py"))]
    return {
        (path.relative_to(ROOT).as_posix(), what)
        for path in files
        for what in switches(path.read_text(encoding="utf-8"))
    }


def test_nothing_in_the_package_switches_the_whole_process() -> None:
    assert found() - set(ALLOWED) == set()


def test_what_is_allowed_is_still_there() -> None:
    assert set(ALLOWED) - found() == set(), "take it off the list"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("with warnings.catch_warnings():\n    pass", "warnings.catch_warnings"),
        ("def f():\n    torch.set_num_threads(1)", "torch.set_num_threads"),
        ("os.environ['A'] = 'b'", "os.environ"),
        ("del os.environ['A']", "os.environ"),
        ("sys.stdout = io.StringIO()", "sys.stdout"),
        ("torch.backends.cudnn.allow_tf32 = False", "torch.backends"),
        ("nn.Module.__call__ = traced", "nn.Module"),
        ("Image.MAX_IMAGE_PIXELS = None", "Image.MAX_IMAGE_PIXELS"),
        ("import torch.fx", "torch.fx"),
        ("from torch.fx import symbolic_trace", "torch.fx"),
        ("from matplotlib import pyplot as plt", "matplotlib.pyplot"),
    ],
)
def test_a_switch_would_be_found(text: str, what: str) -> None:
    assert what in set(switches(text))


def test_reading_of_settings_is_no_switch() -> None:
    assert not set(switches("a = os.environ.get('A')\nprint(x, file=sys.stdout)\nb = torch.Generator().manual_seed(0)"))


def test_the_app_s_threads_leave_the_filters_of_warnings_alone(tmp_path: Path) -> None:
    """Decoding swaps no global list, on however many threads."""
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    from spatial_viz.data.images import load_image
    from spatial_viz.data.samples import samples

    before = list(warnings.filters)
    seen: list[bool] = []

    def decode(path: Path) -> None:
        load_image(path)
        seen.append(warnings.filters == before)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(decode, [sample.path for sample in samples("cifar10")] * 5))
    assert all(seen) and len(seen) == 5 * len(samples("cifar10"))
