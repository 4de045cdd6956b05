"""README and docs: their Python runs as written, and the commands, options, links, files and names in them exist."""

from __future__ import annotations

import pkgutil
import re
import shlex
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from test_layering import FLOOR

from solo_rt.cli import commands

ROOT = Path(__file__).resolve().parent.parent
README, EXTEND = ROOT / "README.md", ROOT / "docs" / "extend.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "plugins" / "tensorrt" / "README.md"]
TOP = ("solo_rt", "train", "tests", "plugins", "scripts", "docs", "engines", *(p.name for p in ROOT.glob("solo_rt/*")))
FILE = re.compile(r"[\w*][\w.*/-]*\.(py|pyi|h|cpp|cu|cuh|cmake|md|toml)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def prose(page):
    """Return the page without its blocks."""
    return re.sub(r"^```\w*\n.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def spans(text):
    """Return what stands between backticks, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def shell_commands(page):
    """Return the words of every command in the page's shell blocks."""
    found = []
    for line in "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        found += [
            list(group) for joins, group in groupby(words, lambda word: word in ("&&", "||", "|", ";")) if not joins
        ]
    return found


def files(span, page):
    """Return the files that a span is the path of, from the checkout, solo_rt/ or the page; None if it is no path."""
    path = re.sub(r"<\w+>", "*", span).rstrip("/")
    if FILE.fullmatch(path) or (re.fullmatch(r"[\w.*/-]+", path) and "/" in span and path.split("/")[0] in TOP):
        return [file for folder in (ROOT, ROOT / "solo_rt", page.parent) for file in folder.glob(path)]
    return None


def anchors(page):
    """Return what GitHub calls the page's headings in links."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page):
    """Return the file and the anchor, empty for none, of every link of the page that does not leave the checkout."""
    targets = [t.partition("#") for t in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in t]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in targets]


def options(command):
    """Return every name of every option of a command."""
    parameters = commands.commands[command].params
    return {"-h", "--help", *(name for p in parameters for name in (*p.opts, *p.secondary_opts))}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_examples_run(page, tmp_path, monkeypatch, capsys):
    from solo_rt.train.data.world_files import write_videos

    write_videos(tmp_path, seed=7, size=(180, 320), frames=3)
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), {})
        assert page != README or "0.07 s" in capsys.readouterr().out


@every_page
def test_commands_in_shell_blocks_can_be_parsed(page):
    for words in shell_commands(page):
        if words[0] == "solo-rt":
            name, *arguments = commands.join(words[1:])
        elif "solo_rt.train" in words:
            name, arguments = "train", words[words.index("solo_rt.train") + 1 :]
        else:
            continue
        commands.commands[name].make_context(name, arguments)


@every_page
def test_options_in_prose_exist(page):
    for part in (part.strip() for span in spans(prose(page)) for part in span.split("&&")):
        words = part.removeprefix("solo-rt ").split()
        if part.startswith("solo-rt ") or words[0] in commands.commands:
            words = commands.join(words)
            known = options(words[0])
        elif words[0].startswith("--"):
            known = set().union(*map(options, commands.commands))
        else:
            continue
        named = {word.strip("[]").partition("=")[0] for word in words if word.lstrip("[").startswith("-")}
        assert named <= known, part


def test_every_command_is_in_the_table():
    named = [commands.join(span.split()[1:]) for span in spans(prose(README)) if span.startswith("solo-rt ")]
    assert {words[0] for words in named} >= set(commands.commands)


@every_page
def test_links_lead_somewhere(page):
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target.name}#{anchor}"


def test_the_readme_is_short_and_leads_to_every_page():
    assert len(text_of(README).splitlines()) <= 170
    assert {target for target, _ in links(README)} >= set(PAGES) - {README}


@every_page
def test_files_and_modules_named_exist(page):
    for span in spans(prose(page)):
        assert files(span, page) != [], span
    for name in re.findall(r"\bsolo_rt(?:\.[A-Za-z_]\w*)+", text_of(page)):
        pkgutil.resolve_name(name)


def test_the_table_of_floors_is_in_the_order_that_the_layering_test_holds():
    table = re.findall(
        r"^\| .* \|$", text_of(README).partition("| floor | rooms |")[2].partition("\n\n")[0], re.MULTILINE
    )
    rows = [[span.removesuffix("/").removesuffix(".py") for span in spans(row)] for row in table]
    floors = [[FLOOR[room] for room in row if room in FLOOR] for row in rows if row[0] != "train"]
    assert all(min(upper) >= max(lower) for upper, lower in pairwise(floors))
    packages = {path.parent.name for path in ROOT.glob("solo_rt/*/__init__.py")}
    assert {room for row in rows for room in row} >= packages


def test_checklists_name_what_is_in_the_files_beside_it():
    for item in re.split(r"^\d\. ", text_of(EXTEND), flags=re.MULTILINE)[1:]:
        named = {span: files(span, EXTEND) for span in spans(item)}
        code = "".join(text_of(path) for paths in named.values() for path in paths or () if path.is_file())
        for span in (span for span, paths in named.items() if paths is None):
            assert all(part in code for part in span.split(".")), span


def test_scripts_are_documented_and_short():
    text = "".join(map(text_of, PAGES))
    scripts = list((ROOT / "scripts").iterdir())
    assert set(re.findall(r"scripts/([\w-]+)", text)) == {script.name for script in scripts}
    for script in scripts:
        assert script.stat().st_mode & 0o111
        assert len(text_of(script).splitlines()) <= 25


def test_version_is_the_changelogs_newest():
    import solo_rt

    assert re.findall(r"^## (\S+)", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)[0] == solo_rt.__version__
