"""The command `solo-rt`. Each handler parses, calls one library function and prints.

Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 an engine or a device failed, what a command
looked for is missing, or a bug; 2 usage; 3 the source could not be opened; 4 finished, but the source was damaged or an
output failed; 5 an exported model failed its check; 129, 130 and 143 interrupted, with the outputs finished.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from solo_rt import __version__
from solo_rt.commands import COMMANDS
from solo_rt.commands.interrupts import Interrupts
from solo_rt.commands.lines import FORMATTER, choose_format, tell
from solo_rt.commands.options import log
from solo_rt.commands.terminal import patient_stderr, write_any_text
from solo_rt.errors import SoloRTError


class Commands(click.Group):
    """Commands; the name of one may be typed in two words, `bench compare` for bench-compare."""

    def join(self, arguments: Sequence[str]) -> list[str]:
        """Return the arguments with the name of the command in one word."""
        name = "-".join(arguments[:2])
        return [name, *arguments[2:]] if name in self.commands else list(arguments)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name as it was typed, which help repeats, the command and its arguments."""
        joined = self.join(args)
        name, found, rest = super().resolve_command(ctx, joined)
        return name if joined == args else " ".join(args[:2]), found, rest


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="solo-rt", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """Turn video into segmented video and data."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in COMMANDS:
    commands.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code; every failure is one line on stderr."""
    write_any_text()
    with patient_stderr():
        choose_format("text")
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(FORMATTER)
        logging.basicConfig(handlers=[handler])
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.addLevelName(level, logging.getLevelName(level).lower())
        code = _run(arguments)
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """Return the exit code of a command line, after saying what went wrong."""
    interrupts = Interrupts(raises=True)
    try:
        with interrupts:
            return commands.main(arguments, prog_name="solo-rt", standalone_mode=False) or 0
    except click.ClickException as error:
        return complain(_with_help(error, sys.argv[1:] if arguments is None else arguments), 2)
    except SoloRTError as error:
        return complain(_with_stage(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        tell("solo-rt: interrupted", fields={"exit_code": interrupts.exit_code})
        return interrupts.exit_code
    except BrokenPipeError:
        return 1  # whoever read our output has left; there is nobody to tell
    except OSError as error:
        where = "standard output" if error.filename is None else str(error.filename)
        return complain(f"{where}: {error.strerror or error}; what was finished before stays", 4)
    except Exception as error:
        return complain(f"{type(error).__name__}: {_with_stage(error)} (a bug; run again with -v to see where)", 1)


def complain(message: str, code: int) -> int:
    """Print one line, with the traceback before it if verbose, and return the exit code."""
    exception = traceback.format_exc() if log.isEnabledFor(logging.DEBUG) else ""
    tell(" ".join(message.split()), level="error", exception=exception, fields={"exit_code": code})
    return code


def _with_help(error: click.ClickException, arguments: Sequence[str]) -> str:
    """Return what is wrong with a command line, and where to read on."""
    joined = commands.join(arguments)
    typed = arguments[: 1 + len(arguments) - len(joined)] if joined and joined[0] in commands.commands else []
    text, command = error.format_message(), " ".join(["solo-rt", *typed])
    if command == "solo-rt run" and ("'--source'" in text or "unexpected extra argument" in text):
        text = text.rstrip(".") + "; the video goes behind --source"
    if command == "solo-rt" and "--config" in text:
        text = text.rstrip(".") + "; it goes behind the command, as in solo-rt run --config FILE"
    return f"{text} (see {command} --help)"


def _with_stage(error: Exception) -> str:
    return " ".join([str(error), *(f"({note})" for note in getattr(error, "__notes__", []))])
