"""The rules of the house that a reviewer would otherwise have to remember."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "guardrails", "routing", "cache")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 300
MOST_FUNCTION_LINES = 60
OFTEN_FUNCTION_LINES = 40


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code: the docstring is not counted, and neither are functions defined inside."""
    inner = {
        child.lineno
        for sub in ast.walk(node)
        if sub is not node and isinstance(sub, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(sub)
        if hasattr(child, "lineno")
    }
    lines = {child.lineno for child in ast.walk(node) if hasattr(child, "lineno")} - inner
    doc = node.body[0]
    if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant) and isinstance(doc.value.value, str):
        lines -= {doc.lineno}
    return len(lines)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_a_small_room(path: Path) -> None:
    """Every source file is at most 300 lines."""
    lines = path.read_text("utf-8").count("\n")
    assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines; one concept to a file"


def test_functions_are_short() -> None:
    """No function is longer than 60 lines of code, and at most one in fifty is longer than 40."""
    sizes = {f"{path.relative_to(ROOT)}:{f.name}": length(f) for path in SOURCES for f in functions(tree_of(path))}
    too_long = {name: size for name, size in sizes.items() if size > MOST_FUNCTION_LINES}
    assert not too_long
    long = [name for name, size in sizes.items() if size > OFTEN_FUNCTION_LINES]
    assert len(long) <= len(sizes) / 50, long


PROVIDERS = frozenset(path.stem for path in (ROOT / "gateway/providers/catalog").glob("*.*"))


def test_no_code_compares_a_providers_name() -> None:
    """What differs between providers is data in the catalog; code that asks for a name would be a second place."""
    assert len(PROVIDERS) > 5, "the catalog has moved; this test looks at nothing"
    dialects = {"openai", "anthropic", "gemini"}
    found = []
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Compare):
                words = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
                named = words & (PROVIDERS - dialects)
                if "dialects" not in path.parts and "http" not in path.parts:
                    named |= words & PROVIDERS & dialects
                found += [f"{path.relative_to(ROOT)}:{node.lineno} {name}" for name in named]
            if (
                isinstance(node, ast.MatchValue)
                and isinstance(node.value, ast.Constant)
                and node.value.value in PROVIDERS
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.value.lineno} {node.value.value}")
    assert not found


def test_the_order_of_the_pipeline_is_one_list() -> None:
    """Only `gateway/pipeline/build.py` puts stages in order: nobody else makes a lane or a pipeline."""
    makers = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"Lane", "Pipeline"}
    ]
    assert set(makers) == {"gateway/pipeline/build.py"}


FENCES = {
    "litestar": ("gateway/http/", "gateway/console/", "gateway/app"),
    "redis": ("cache/backends/", "gateway/admission/"),
    "qdrant_client": ("cache/backends/",),
    "presidio_analyzer": ("guardrails/private/pii",),
    "opentelemetry": ("gateway/telemetry/",),
    "httpx": ("gateway/providers/http",),
    "pyreqwest": ("gateway/providers/http",),
    "aiohttp": ("gateway/providers/http",),
    "uvicorn": ("gateway/http/",),
}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("library", FENCES)
def test_third_parties_stay_behind_their_fence(library: str) -> None:
    """Each large library is imported in one place, so it can be replaced in one place."""
    outside = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if library in imports(path) and not str(path.relative_to(ROOT)).startswith(FENCES[library])
    ]
    assert not outside


def test_core_needs_only_the_standard_library_and_msgspec() -> None:
    """`gateway.core` depends on nothing of ours and on one library."""
    allowed = set(sys.stdlib_module_names) | {"msgspec", "gateway", "numpy"}
    for path in (ROOT / "gateway/core").glob("*.py"):
        assert imports(path) <= allowed, path.name
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gateway"):
                assert (node.module or "").startswith("gateway.core"), path.name


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def test_no_machine_is_named_in_the_tree() -> None:
    """No absolute path of a developer's machine, and no private registry, is in any tracked text file."""
    pattern = re.compile(
        r"/(?:home/[a-z]+|wor" + r"k/|roo" + r"t/|Users/)|pypi\.(?!org)[a-z]+\.(?:internal|local|corp)"
    )
    found = []
    for path in tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert not found


def test_large_binaries_stay_out() -> None:
    """Nothing over 5 MB is tracked: models are built from packages at set-up."""
    assert not [str(path.relative_to(ROOT)) for path in tracked() if path.stat().st_size > 5_000_000]


def test_no_unfinished_words() -> None:
    """No to-do marks and no stubs: what is not there is an issue, not a comment."""
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImplemented(?:Error)?)\b")
    found = [f"{path.relative_to(ROOT)}: {m[0]}" for path in SOURCES for m in marks.finditer(path.read_text("utf-8"))]
    assert not found
