"""Options in a file and in the environment."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import pytest

from solo_rt.cli import commands
from solo_rt.commands import COMMANDS
from solo_rt.commands.config import Configured
from solo_rt.commands.parameters import CountOr

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
SECRET = "hunter2"
# What a command cannot do without, and cannot take from a file.
ARGUMENTS = {
    "demo-data": ["folder"],
    "check-labels": ["folder:none"],
    "import-weights": ["none.pth"],
    "export": ["none.pt"],
}


@pytest.fixture
def solo(solo, tmp_path, monkeypatch):
    """Return the function that runs the command line, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return solo


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a configuration file and returns its name."""

    def write(text):
        (tmp_path / "solo.toml").write_text(text)
        return "solo.toml"

    return write


def settings(text):
    """Return each option that is set, as it is printed, with where its value came from."""
    found = (re.fullmatch(r"([\w-]+) = (.*)  # (.*)", line) for line in text.splitlines())
    return {match[1]: (match[2], match[3]) for match in found if match}


def some_value(option):
    """Return a value of an option other than its default, as TOML."""
    if option.is_flag:
        return "true"
    if isinstance(option.type, click.types.FloatParamType):
        return "0.25"
    if isinstance(option.type, (click.types.IntParamType, CountOr)):
        return "3"
    if isinstance(option.type, click.Choice):
        text = option.type.choices[-1]
    elif option.name == "phase":
        text = "64x96:10:2"
    elif option.name == "draw":
        text = "boxes,tracks"
    elif option.name == "grids":
        text = "40,36,24,16,12"
    elif option.type.name == "LONGxSHORT":
        text = "96x64"
    elif option.type.name in ("HxW", "WxH"):
        text = "64x96"
    else:
        # Files that must be there are; what is hard to quote is in every text.
        text = __file__ if isinstance(option.type, click.Path) and option.type.exists else 'it\'s "ü"\\ # 1'
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"[{quoted}, {quoted}]" if option.multiple else quoted


def test_every_command_takes_a_file():
    assert all(isinstance(command, Configured) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
@pytest.mark.parametrize("is_set", [False, True])
def test_what_is_printed_is_a_file_that_says_the_same(solo, write, command, is_set):
    path = write(f"[{command.name}]\n")
    if is_set:
        path = write(f"[{command.name}]\n" + "".join(f"{k} = {some_value(o)}\n" for k, o in command.options.items()))
    arguments = [command.name, *ARGUMENTS.get(command.name, []), "--config", path, "--print-config"]
    code, first, err = solo(*arguments)
    assert (code, err) == (0, "")
    printed = tomllib.loads(first)[command.name]
    if is_set:
        left_out = {"fp16", "fp32", "serve-token"}  # alternatives, of which the last one counts, and a secret
        wanted = tomllib.loads(Path(path).read_text())[command.name]
        assert printed.items() >= {k: v for k, v in wanted.items() if k not in left_out}.items()
    write(first)
    _, second, _ = solo(*arguments)
    assert tomllib.loads(second)[command.name] == printed
    for key in command.options:
        assert f"\n{key} = " in first or f"\n# {key} is not set" in first


@pytest.mark.parametrize(
    ("flag", "variable", "file", "expected"),
    [
        ("0.1", "0.2", "0.3", ("0.1", "flag")),
        ("0.1", "0.2", None, ("0.1", "flag")),
        ("0.1", None, "0.3", ("0.1", "flag")),
        (None, "0.2", "0.3", ("0.2", "environment variable SOLO_RT_RUN_CONF")),
        (None, None, "0.3", ("0.3", "file solo.toml")),
        (None, "", "0.3", ("0.3", "file solo.toml")),
        (None, None, None, None),
    ],
)
def test_a_flag_counts_more_than_a_variable_and_that_more_than_the_file(
    solo, write, monkeypatch, flag, variable, file, expected
):
    monkeypatch.setenv("SOLO_RT_CONFIG", write("" if file is None else f"[run]\nconf = {file}\n"))
    if variable is not None:
        monkeypatch.setenv("SOLO_RT_RUN_CONF", variable)
    _, out, _ = solo("run", *(() if flag is None else ("--conf", flag)), "--print-config")
    assert settings(out).get("conf") == expected


@pytest.mark.parametrize(
    ("variable", "file", "expected"),
    [
        (None, "true", ('"127.0.0.1:8088"', "file solo.toml")),
        ("1", None, ('"127.0.0.1:8088"', "environment variable SOLO_RT_RUN_SERVE")),
        ("false", '"0.0.0.0:80"', None),
        (None, "false", None),
        ("localhost:0", "true", ('"localhost:0"', "environment variable SOLO_RT_RUN_SERVE")),
    ],
)
def test_an_option_that_may_stand_alone_may_be_switched(solo, write, monkeypatch, variable, file, expected):
    monkeypatch.setenv("SOLO_RT_CONFIG", write("" if file is None else f"[run]\nserve = {file}\n"))
    if variable is not None:
        monkeypatch.setenv("SOLO_RT_RUN_SERVE", variable)
    code, out, err = solo("run", "--source", "x", "--print-config")
    assert (code, err, settings(out).get("serve")) == (0, "", expected)
    assert "serve-token" not in settings(out), "a secret that there is not is not shown as one"


def test_a_path_in_a_file_may_begin_with_the_home_folder(solo, write, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")  # no shell is there to put it in
    _, _, err = solo("run", "--source", "x", "--config", write('[run]\nzones = "~/street.toml"\n'))
    assert "cannot read the zone file '/home/me/street.toml'" in err


def test_a_value_of_every_origin_reaches_the_command(solo, write, monkeypatch, tmp_path):
    monkeypatch.setenv("SOLO_RT_RUN_MAX_FRAMES", "2")
    monkeypatch.setenv("SOLO_RT_RUN_JSON", "true")
    path = write('[run]\nsource = "test://?size=64x64&frames=9"\noutput = ["a.jsonl"]\nquiet = true\nsync = true\n')
    code, out, err = solo("run", "--config", path, "--max-fps", 1000)
    assert (code, err) == (0, "")
    assert '"processed": 2' in out
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 4


def test_repeated_options_are_lists_that_a_flag_replaces(solo, write, monkeypatch):
    path = write('[run]\noutput = ["a.mp4", "b.mp4"]\n')
    assert settings(solo("run", "--config", path, "--print-config")[1])["output"][0] == '["a.mp4", "b.mp4"]'
    monkeypatch.setenv("SOLO_RT_RUN_OUTPUT", "'my clip.mp4' b.jsonl")
    assert settings(solo("run", "--config", path, "--print-config")[1])["output"][0] == '["my clip.mp4", "b.jsonl"]'
    shown = settings(solo("run", "--config", path, "--output", "c.mp4", "--print-config")[1])
    assert shown["output"] == ('["c.mp4"]', "flag")


def test_of_flags_that_exclude_each_other_the_nearer_one_counts(solo, write, monkeypatch):
    path = write("[build_engine]\nint8 = true\nno_check = false\n")
    chosen = lambda *more: {  # noqa: E731
        key for key, (value, _) in settings(solo("build-engine", "--config", path, *more, "--print-config")[1]).items()
        if key in ("fp16", "fp32", "int8") and value == "true"
    }  # fmt: skip
    assert chosen() == {"int8"}
    assert chosen("--fp16") == {"fp16"}
    monkeypatch.setenv("SOLO_RT_BUILD_ENGINE_FP32", "yes")
    monkeypatch.setenv("SOLO_RT_BUILD_ENGINE_FP16", "no")
    assert chosen() == {"fp32"}
    code, _, err = solo("build-engine", "--config", write("[build-engine]\nint8 = true\n"), "--model", "x")
    monkeypatch.delenv("SOLO_RT_BUILD_ENGINE_FP32")
    code, _, err = solo("build-engine", "--config", "solo.toml", "--model", "x")
    assert (code, "--int8 needs --calib" in err) == (2, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[run]\nconf = "0.4"', 'solo.toml: conf in [run]: expected a number, got "0.4"'),
        ("[run]\nconf = true", "solo.toml: conf in [run]: expected a number, got true"),
        ("[run]\nlanes = 2.0", "solo.toml: lanes in [run]: expected a whole number, got 2.0"),
        ("[run]\nquiet = 1", "solo.toml: quiet in [run]: expected true or false, got 1"),
        ("[run]\nsource = 1", "solo.toml: source in [run]: expected a string or a list, each a string, got 1"),
        ("[run]\noutput = [1]", "solo.toml: output in [run]: expected a string or a list, each a string, got [1]"),
        ('[run]\nmodel = ["a"]', 'solo.toml: model in [run]: expected a string, got ["a"]'),
        ('[run]\nencoder = "x265"', "'x265' is not one of 'x264', 'nvenc' (from the file solo.toml)"),
        ("[run]\nsorce = 'x'", "solo.toml: unknown key sorce in [run]; did you mean source?"),
        ("[run]\nqqq = 'x'", "solo.toml: unknown key qqq in [run]; known are source, model, output,"),
        ("[run]\nconfig = 'x'", "solo.toml: unknown key config in [run]; did you mean conf?"),
        ("[rum]\nconf = 1", "solo.toml: unknown table [rum]; did you mean run?"),
        ("[qqq]", "solo.toml: unknown table [qqq]; known are run, inspect, doctor,"),
        ("conf = 1", "solo.toml: conf is in no table; put it below [run]"),
        ("[run", "configuration file solo.toml: expected TOML, got "),
        ("[" * 5000, "configuration file solo.toml: expected TOML, got "),
        ("#" * 2_000_000, "configuration file solo.toml: expected TOML, got more than 1 MB"),
    ],
)
def test_mistakes_in_a_file_are_named_with_their_place(solo, write, text, message):
    code, out, err = solo("run", "--config", write(text), "--source", "x")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_table_of_another_command_is_not_looked_into(solo, write):
    assert solo("run", "--config", write("[train]\nqqq = 1\n"), "--print-config")[0] == 0


def test_a_file_that_cannot_be_read_is_named(solo, tmp_path):
    for path in ("none.toml", tmp_path, ""):
        code, _, err = solo("doctor", "--config", path)
        assert (code, err.count("\n")) == (2, 1)
        assert f"cannot read the configuration file '{path}': " in err


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SOLO_RT_RUN_CONFF", "1", "unknown environment variable SOLO_RT_RUN_CONFF; did you mean SOLO_RT_RUN_CONF?"),
        ("SOLO_RT_RUN_QQ", "1", "unknown environment variable SOLO_RT_RUN_QQ; known are SOLO_RT_RUN_SOURCE,"),
        ("SOLO_RT_TRAIN_EPOCH", "1", "did you mean SOLO_RT_TRAIN_EPOCHS?"),
        ("SOLO_RT_RNU_CONF", "1", "did you mean SOLO_RT_RUN_CONF?"),
        ("SOLO_RT_CONFG", "x", "did you mean SOLO_RT_CONFIG?"),
        ("SOLO_RT_RUN_QUIET", "maybe", "environment variable SOLO_RT_RUN_QUIET: 'maybe' is not a valid boolean"),
        ("SOLO_RT_RUN_OUTPUT", "'a", "environment variable SOLO_RT_RUN_OUTPUT: No closing quotation"),
        (
            "SOLO_RT_RUN_LANES",
            "many",
            "'--lanes': 'many' is not a valid integer (from the environment variable SOLO_RT_RUN_LANES)",
        ),
    ],
)
def test_mistakes_in_the_environment_are_named(solo, monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    code, _, err = solo("run", "--source", "x")
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert solo("run", "--help")[0] == 0, "help is there for who made a mistake"


def test_variables_that_are_no_options_are_left_alone(solo, monkeypatch):
    """Those that code, scripts and builds read, and what Kubernetes makes of a service called solo-rt."""
    sources = [path for top in ("solo_rt", "train", "scripts", "tests") for path in (ROOT / top).rglob("*")]
    sources += [ROOT / "setup.py", ROOT / "CMakeLists.txt"]
    texts = [path.read_text() for path in sources if path.suffix in (".py", ".txt", "") and path.is_file()]
    named = set(re.findall(r"(?:environ\S*|\$\{?|= )\W*(SOLO_RT_[A-Z_]+)", "\n".join(texts))) - {"SOLO_RT_"}
    known = {variable for command in COMMANDS for variable in command.variables} | {"SOLO_RT_CONFIG"}
    others = {name for name in named if not name.startswith("SOLO_RT_RUN_")} - known
    assert others >= {"SOLO_RT_CACHE", "SOLO_RT_DATA", "SOLO_RT_REQUIRE_GPU", "SOLO_RT_KERNELS", "SOLO_RT_PLUGINS"}
    for name in [*others, "SOLO_RT_SERVICE_HOST", "SOLO_RT_PORT_80_TCP", "SOLO_RT_VERSION", "SOLO_RT_HELP"]:
        monkeypatch.setenv(name, "1")
    assert solo("run", "--print-config")[0] == 0


def test_the_file_in_the_docs_can_be_used(solo, write):
    (example,) = re.findall(r"^```toml\n(.*?)^```$", (ROOT / "docs" / "run.md").read_text(), re.DOTALL | re.MULTILINE)
    for name in tomllib.loads(example):
        code, out, err = solo(name, "--config", write(example), "--print-config")
        assert (code, err) == (0, "")
        assert [origin for _, origin in settings(out).values()].count("file solo.toml") >= 2


def test_no_two_options_share_a_variable():
    names = [variable for command in COMMANDS for variable in command.variables]
    assert len(names) == len(set(names))


def test_no_password_is_printed(solo, write, monkeypatch):
    for address in (f"rtsp://me:{SECRET}@cam/1", f"https://host/x?token={SECRET}", f"coco:https://me:{SECRET}@host"):
        for text in (f'source = "{address}"', f'output = ["{address}"]', f'conf = "{address}"'):
            code, out, err = solo("run", "--config", write(f"[run]\n{text}\n"), "--print-config")
            assert SECRET not in out + err, (address, text)
            assert code in (0, 2)
        monkeypatch.setenv("SOLO_RT_RUN_MODEL", address)
        assert SECRET not in "".join(solo("run", "--source", address, "--print-config")[1:])


def test_the_option_before_the_command_is_told_where_it_goes(solo):
    code, _, err = solo("--config", "x", "run")
    assert (code, "; it goes behind the command, as in solo-rt run --config FILE" in err) == (2, True)


def test_the_commands_of_the_group_are_those_that_are_listed():
    assert list(commands.commands.values()) == list(COMMANDS)
