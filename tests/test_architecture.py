"""The house keeps its own rules: imports flow one way, files stay short, documents stay true."""

import argparse
import ast
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "predella"
FILES = sorted(SOURCE.rglob("*.py"))

# what each part may import, besides itself; the order is the data flow
EDGE = {"errors", "config", "atomic"}  # no torch, no paper: usable everywhere
LOWER = {"image", "nn", "losses", "models"}
ALLOWED = {
    "errors": set(),
    "config": {"errors"},
    "atomic": {"errors"},
    "image": EDGE,
    "nn": set(),
    "weights": {"nn"} | EDGE,
    "losses": {"nn", "image", "weights"} | EDGE,
    "tasks": {"image"} | EDGE,
    "data": {"image", "tasks"} | EDGE,
    "models": {"image", "nn", "losses"} | EDGE,
    "objectives": {"image", "nn", "losses", "tasks", "models", "weights"} | EDGE,
    "train": {"models.base", "objectives.base", "tasks.base", "image"} | EDGE,
    "metrics": {"image", "nn", "losses", "data", "tasks", "models.base", "models.classifier", "weights"} | EDGE,
    "apps": {"image", "nn", "losses", "data", "tasks", "models", "metrics", "train.optim"} | EDGE,
    "recipe": {"data", "tasks", "models", "objectives", "train"} | EDGE,
    "run": {"recipe", "card", "data", "tasks.base", "models", "objectives.base", "train"} | EDGE,
    "evaluation": {"recipe", "data", "models", "metrics", "apps", "train", "protocols"} | EDGE,
    "protocols": {"recipe", "data", "tasks", "objectives", "metrics", "apps", "weights"} | LOWER | EDGE,
    "report": {"curves"} | EDGE,
    "curves": set(),
    "card": {"train.log"},
    "studio": {"image", "tasks", "data.images", "apps.demo_tower", "apps.demo_reversible"} | EDGE,
    "recipes": {"recipe", "data", "tasks", "models", "objectives", "train"} | EDGE,
}


def imports(file):
    """Dotted names below predella that `file` imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "predella":
            rest = node.module.split(".")[1:]
            yield from [".".join(rest)] if rest else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("predella.") for a in node.names if a.name.startswith("predella."))


def part_of(file):
    return file.relative_to(SOURCE).with_suffix("").parts[0]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_flow_one_way(file):
    part = part_of(file)
    if part in ("cli", "__init__", "__main__"):
        return  # the top: may import everything
    allowed = ALLOWED[part] | {part}
    for name in imports(file):
        if name in ("", "__version__") or name.startswith("errors"):
            continue
        assert any(name == a or name.startswith(a + ".") for a in allowed), f"{file.name} ({part}) imports predella.{name}"


def test_nothing_but_the_command_line_imports_recipes():
    for file in FILES:
        if part_of(file) not in ("cli", "recipes"):
            assert not any(n == "recipes" or n.startswith("recipes.") for n in imports(file)), file


def test_blocks_know_only_torch():
    allowed = {"torch", "math", "collections", "typing", "predella", "dataclasses", "contextlib", "functools"}
    for file in (SOURCE / "nn").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
            )
            for name in names:
                assert name.split(".")[0] in allowed, f"{file.name} imports {name}"
                assert not name.startswith("predella") or name.startswith("predella.nn"), f"{file.name} imports {name}"


@pytest.mark.parametrize("file", sorted([*FILES, *ROOT.glob("tests/*.py"), *ROOT.glob("benchmarks/*.py")]), ids=lambda f: f.name)
def test_files_are_short_and_say_what_they_are(file):
    assert len(file.read_text().splitlines()) <= 400
    assert file.stem not in {"utils", "util", "helpers", "helper", "misc", "common"}
    assert ast.get_docstring(ast.parse(file.read_text())), f"{file} has no docstring"


def test_no_print_below_the_command_line_and_no_pickle():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name != "print" or part_of(file) == "cli", f"{file} prints"
                allowed = {"torch.manual_seed": "run.py", "torch.load": "weights.py"}.get(name) == file.name
                assert name not in ("torch.load", "pickle.load", "pickle.loads", "torch.manual_seed") or allowed, f"{file} calls {name}"
                # the official state dicts of the metrics' networks: tensors only, after their checksum
                assert name != "torch.load" or "weights_only=True" in ast.unparse(node), file


def test_public_things_are_documented():
    for file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and part_of(file) != "cli":
                assert ast.get_docstring(node), f"{file.relative_to(SOURCE)}: {node.name} has no docstring"


def test_equations_point_to_lines_that_exist():
    rows = re.findall(r"`(src/[\w/]+\.py)` `([\w.]+)`", (ROOT / "docs" / "equations.md").read_text())
    assert len(rows) >= 8
    for file, name in rows:
        names = set()
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}.{f.name}" for f in node.body if isinstance(f, ast.FunctionDef)} | {node.name}
            elif isinstance(node, ast.FunctionDef):
                names.add(node.name)
        assert name in names, f"docs/equations.md: {file} has no {name}"


def test_results_regenerate_to_themselves():
    from predella.report import curves, read_records, results

    assert (ROOT / "RESULTS.md").read_text() == results(ROOT / "results")
    for name, picture in curves(read_records(ROOT / "results")).items():
        assert (ROOT / "results" / name).read_text() == picture


def test_numbers_in_the_readme_stand_in_the_records():
    """Every two-digit figure with two decimals in README.md is a recorded value, rounded."""
    from predella.report import read_records

    recorded = {f"{r['value']:.2f}" for r in read_records(ROOT / "results")}
    for figure in re.findall(r"\b(\d\d\.\d\d)\b", (ROOT / "README.md").read_text()):
        assert figure in recorded, figure


@pytest.mark.parametrize("file", ["README.md", "docs/quickstart.md", "docs/reversible.md", "docs/tower.md"])
def test_python_blocks_run(file, tmp_path):
    """The ```python blocks of a page, in order, as one program in an empty folder with a photo in it."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)
    assert blocks
    program = "from skimage import data\nfrom PIL import Image\nImage.fromarray(data.chelsea()[:60, :80]).save('photo.png')\n" + "\n".join(
        blocks
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


PAGES = ("quickstart", "training", "reversible", "tower", "internal", "density", "functions")


@pytest.mark.parametrize("file", ["README.md", *(f"docs/{page}.md" for page in PAGES)])
def test_commands_in_pages_parse(file, capsys):
    """Every `predella …` line of a page names a verb and options that exist; training lines resolve."""
    from predella.cli import VERBS, main

    for line in re.findall(r"^predella (\S+)(.*)$", (ROOT / file).read_text(), re.MULTILINE):
        verb, rest = line
        assert verb in VERBS, verb
        parser = argparse.ArgumentParser()
        importlib.import_module(f"predella.cli.{VERBS[verb][0]}").add_arguments(parser)
        if verb == "train":
            assert main(["train", *shlex.split(rest, comments=True), "--dry-run"]) == 0 or "--resume" in rest
        for option in re.findall(r"(--[a-z-]+)(?=[\s=]|$)", rest.split("#")[0]):
            assert option in parser.format_help() or verb == "train", f"{file}: predella {verb} {option}"


def test_shipped_models_are_whole_small_and_described():
    from predella.models.base import PRETRAINED, list_pretrained, load

    assert list_pretrained() == [
        "cifar_classifier", "cq_cifar_cqf", "cq_mnist_cq", "cq_mnist_cqf", "cq_mnist_gan", "cq_mnist_vae", "cq_mnist_vaef",
        "functional_digits", "functional_faces_places", "functional_fill", "functional_sr", "meta_internal_photos",
        "mnist_classifier", "reversible_faces", "reversible_mnist_ot", "tower_color", "tower_jpeg", "tower_layout", "tower_mnist_pca",
        "tower_sr16",
    ]  # fmt: skip
    for name in list_pretrained():
        load(name)
        card = (PRETRAINED / name / "README.md").read_text()
        assert all(word in card for word in ("terms of the data", "seed", "hardware", "steps"))
    assert sum(f.stat().st_size for f in PRETRAINED.rglob("*") if f.is_file()) < 40e6
