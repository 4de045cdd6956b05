"""Options that stand in a TOML file or in the environment.

A flag counts more than a variable, a variable more than the file, the file more than the default.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import click
from click.types import FloatParamType, IntParamType

from solo_rt.commands.lines import choose_format, hide_secrets
from solo_rt.commands.parameters import CountOr, Secret
from solo_rt.documents import list_known, read_document, suggest
from solo_rt.errors import UsageError
from solo_rt.uri import expand_home, redact

PREFIX = "SOLO_RT_"
FILE = "SOLO_RT_CONFIG"  # environment variable: the file, where --config names none
SWITCHED = ("1", "0", "true", "false")  # as variables, of an option that may also stand alone


class Setting(NamedTuple):
    """The value of an option, as it was written, and where that was."""

    value: object
    origin: str


class Configured(click.Command):
    """A command whose options may also stand in a file and in the environment."""

    @property
    def options(self) -> dict[str, click.Option]:
        """The options by the names they have in a file."""
        options = [p for p in self.params if isinstance(p, click.Option) and p.name not in ("config", "print_config")]
        return {max(option.opts, key=len).lstrip("-"): option for option in options}

    @property
    def variables(self) -> dict[str, click.Option]:
        """The options by their environment variables."""
        return {f"{_prefix(self)}{_upper(key)}": option for key, option in self.options.items()}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what the command line leaves open from the environment and the file."""
        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True  # they are complained about below, in the format that was chosen
        given, _, _ = parser.parse_args(list(args))
        help_option = self.get_help_option(ctx)
        if help_option is not None and help_option.name in given:
            return super().parse_args(ctx, args)
        choose_format(given.get("log_format", os.environ.get(f"{_prefix(self)}LOG_FORMAT")))
        siblings = [command for command in _siblings(ctx) if isinstance(command, Configured)]
        _refuse_unknown_variables(siblings)
        path = given.get("config", os.environ.get(FILE) or None)
        found = {} if path is None else _from_file(self, expand_home(str(path)), siblings)
        found |= _from_environment(self)
        ctx.default_map = {name: setting.value for name, setting in found.items()}
        found |= {name: Setting(_read_flag(self, name, value), "flag") for name, value in given.items()}
        choose_format(found["log_format"].value if "log_format" in found else "text")
        try:
            if given.get("print_config"):
                click.echo("\n".join(_describe(self, ctx, found)))
                ctx.exit()
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            name = error.param and error.param.name
            if name not in found or name in given:
                raise
            message = f"{error.message.rstrip('.')} (from the {found[name].origin})"
            raise click.BadParameter(message, ctx, error.param, error.param_hint) from error


def _read_flag(command: Configured, name: str, value: object) -> object:
    """Return the value that was typed; of an option that may stand alone, and does, the one it has then."""
    option = next((o for o in command.options.values() if o.name == name and _may_stand_alone(o)), None)
    return value if option is None or isinstance(value, str) else option.flag_value


def _may_stand_alone(option: click.Option) -> bool:
    """Return whether an option has a value, and one of its own where none is typed behind it."""
    return not option.is_flag and isinstance(option.flag_value, str)


def _siblings(context: click.Context) -> Iterable[click.Command]:
    """Return all commands of the command line that a command belongs to."""
    group = context.parent and context.parent.command
    return group.commands.values() if isinstance(group, click.Group) else [context.command]


def _from_environment(command: Configured) -> dict[str, Setting]:
    """Return what the variables of a command say, by parameter. Raises: UsageError."""
    found: dict[str, Setting] = {}
    for variable, option in command.variables.items():
        text = os.environ.get(variable)
        if not text:  # as good as not set, which not every starter of processes can say
            continue
        try:
            is_switch = option.is_flag or (_may_stand_alone(option) and text.lower() in SWITCHED)
            value = click.BOOL(text) if is_switch else shlex.split(text) if option.multiple else text
        except (click.BadParameter, ValueError) as error:
            raise UsageError(f"environment variable {variable}: {error}") from error
        _take(found, option, value, f"environment variable {variable}")
    return found


def _from_file(command: Configured, path: str, siblings: Sequence[Configured]) -> dict[str, Setting]:
    """Return what the table of a command in a file says, by parameter. Raises: UsageError."""
    found: dict[str, Setting] = {}
    tables = [str(sibling.name) for sibling in siblings]
    for name, table in read_document(path, "configuration file", kind="toml").items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} is in no table; put it below [{command.name}]")
        if _dashed(name) not in tables:
            raise UsageError(f"{path}: unknown table [{name}]; {suggest(_dashed(name), tables) or list_known(tables)}")
        if _dashed(name) != command.name:
            continue
        for key, value in table.items():
            option = command.options.get(_dashed(key))
            if option is None:
                instead = suggest(_dashed(key), command.options) or list_known(command.options)
                raise UsageError(f"{path}: unknown key {key} in [{name}]; {instead}")
            _check_type(option, value, f"{path}: {key} in [{name}]")
            _take(found, option, value, f"file {path}")
    return found


def _check_type(option: click.Option, value: object, where: str) -> None:
    """Raise UsageError for a value that no value of the option is written as."""
    kinds: tuple[type, ...]
    if option.is_flag:
        kinds, expected = (bool,), "true or false"
    elif isinstance(option.type, FloatParamType):
        kinds, expected = (int, float), "a number"
    elif isinstance(option.type, IntParamType):
        kinds, expected = (int,), "a whole number"
    elif isinstance(option.type, CountOr):
        kinds, expected = (int, str), "a whole number or a word"
    elif _may_stand_alone(option):
        kinds, expected = (bool, str), "true, false or a string"
    else:
        kinds, expected = (str,), "a string"
    values = value if isinstance(value, list) and option.multiple else [value]
    if any(type(single) not in kinds for single in values):
        expected = f"{expected} or a list, each {expected}" if option.multiple else expected
        raise UsageError(f"{where}: expected {expected}, got {_toml(value)}")


def _take(found: dict[str, Setting], option: click.Option, value: object, origin: str) -> None:
    """Add a value; one of several flags that stand for the values of one parameter does so only where it is true."""
    if option.is_flag and not option.is_bool_flag:
        if not value:
            return
        value = option.flag_value
    elif _may_stand_alone(option) and isinstance(value, bool):
        value = option.flag_value if value else None
    if option.multiple and not isinstance(value, list):
        value = [value]  # one needs no brackets
    found[str(option.name)] = Setting(value, origin)


def _refuse_unknown_variables(commands: Sequence[Configured]) -> None:
    """Raise UsageError for a variable that looks like one of ours and is none.

    Not for all that begin with our prefix: Kubernetes makes such, of a service called solo-rt.
    """
    known = [FILE, *(variable for command in commands for variable in command.variables)]
    for name in os.environ:
        if not name.startswith(PREFIX) or name in known:
            continue
        suggestion = suggest(name, known, cutoff=0.9)
        for command in commands:
            if name.startswith(_prefix(command)):
                suggestion = suggestion or list_known(command.variables)
        if suggestion:
            raise UsageError(f"unknown environment variable {name}; {suggestion}")


def _describe(command: Configured, context: click.Context, found: Mapping[str, Setting]) -> Iterator[str]:
    """Yield the lines of a file that says what holds now. Raises: click.BadParameter for values that cannot be."""
    yield f"[{command.name}]"
    for key, option in command.options.items():
        value, origin = found.get(str(option.name), Setting(option.get_default(context), "default"))
        if option.is_flag and not option.is_bool_flag:
            value = value == option.flag_value
        elif isinstance(option.type, Secret) and isinstance(value, str) and value:
            value = "***"
        elif isinstance(value, (str, bool, int, float, list, tuple)):
            typed = option.type_cast_value(context, value)
            value = typed if isinstance(typed, (bool, int, float)) else value  # a flag's number is text
        else:
            yield f"# {key} is not set"
            continue
        yield f"{key} = {_toml(value)}  # {origin}"


def _toml(value: object) -> str:
    """Return a value as it stands in a file, without secrets."""
    if isinstance(value, str):
        return json.dumps(hide_secrets(redact(value)), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower()


def _prefix(command: click.Command) -> str:
    """Return what the variables of a command begin with."""
    return f"{PREFIX}{_upper(str(command.name))}_"


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _upper(name: str) -> str:
    return name.replace("-", "_").upper()
