"""`rollpoint …`: reads the command line, runs one verb, and turns every ending into an exit code.

The verbs are modules of `tui.commands`. Global options may stand before or after the COMMAND, options
anywhere between the positional arguments, and `--` ends the options. With no COMMAND the full-screen app
opens. Start-up time counts here: nothing is imported that the verb in hand does not need.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from engine import __version__
from engine.errors import RollpointError, UsageError
from tui import commands, garbage
from tui.commands._context import Context, Options
from tui.output import Output, prepare_streams, silence_streams

FAILED, WARNED = 1, 3
_WITH_VALUE = ("--config", "--store", "--root")
_FLAGS = ("--json", "-v", "--verbose", "-q", "--quiet", "-h", "--help", "--version")
_POINT_HELP = ("POINT is an id, a unique prefix of one, the number shown by `list`, or `latest`. PATHs are "
               "paths inside the point: /etc/hosts. Exit codes: 0 done, 1 failed, 2 usage, 3 done with "
               "warnings, 4 busy, 5 refused for safety, 6 not confirmed, 7 damage found, 8 configuration.")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are our errors: one line, a hint, exit code 2, JSON where asked
    for."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.replace("arguments: -- ", "arguments: "), hint=f"see `{self.prog} --help`")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse words in which options and positional arguments are mixed in any order."""
        options, positionals = self._arrange(list(words))
        return self.parse_args([*options, "--", *positionals] if positionals else options)

    def _arrange(self, words: list[str]) -> tuple[list[str], list[str]]:
        """Return options (each with its value in one word) and positional arguments, which argparse alone
        mixes up: it gives `restore 3 --to DIR PATH` no PATH."""
        options: list[str] = []
        positionals: list[str] = []
        while words:
            word = words.pop(0)
            if word == "--":
                positionals += words
                break
            if len(word) < 2 or not word.startswith("-"):
                positionals.append(word)
                continue
            action = self._option_string_actions.get(word)
            if action is not None and action.nargs is None and words and not self._is_option(words[0]):
                word = f"{action.option_strings[-1]}={words.pop(0)}"      # the long name: a value may be empty
            options.append(word)
        return options, positionals

    def _is_option(self, word: str) -> bool:
        """Whether a word is one of our options, and so not the value of the one before (`--to --json`)."""
        return word == "--" or word in self._option_string_actions


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code; never raises for any
    input."""
    words = list(sys.argv[1:] if argv is None else argv)
    prepare_streams()
    plain = words[:words.index("--")] if "--" in words else words
    out = Output(as_json="--json" in plain, verbose=int("-v" in plain or "--verbose" in plain))
    try:
        return _guarded(out, {}, lambda: _start(words))
    except SystemExit as end:           # argparse after --help
        return end.code if isinstance(end.code, int) else FAILED


def _start(words: list[str]) -> int:
    word, rest = _split_command(words)
    if word is None:
        return _without_command(rest)
    command = commands.find(word)
    if command is None:
        raise UsageError(f"there is no command {word!r}", hint=_similar(word))
    parser = _parser(f"rollpoint {command.name}", command.summary, command.details)
    command.configure(parser)
    args = parser.parse(rest)
    options = _options(args)
    out = Output(as_json=options.as_json, quiet=options.quiet, verbose=options.verbose)
    context = Context(options, out)
    return _guarded(out, context.partial, lambda: _run(command, context, args))


def _run(command: commands.Command, context: Context, args: argparse.Namespace) -> int:
    context.backend = getattr(args, "backend", None)
    answer = command.run(context, args)
    if context.out.as_json and answer.document is not None:
        warnings = {"warnings": context.warnings} if context.jobs else {}
        context.out.document({**answer.document, **warnings})
    context.out.flush()
    return answer.exit_code or (WARNED if context.warnings else 0)


def _split_command(words: list[str]) -> tuple[str | None, list[str]]:
    """Return the COMMAND and all other words, in their order."""
    at = 0
    while at < len(words):
        word = words[at]
        if word in _WITH_VALUE:
            at += 2
        elif word in _FLAGS or word.partition("=")[0] in _WITH_VALUE or _short_flags(word):
            at += 1
        elif word.startswith("-"):
            raise UsageError(f"{word!r} is no global option", hint="options of a COMMAND stand behind it; "
                             "`rollpoint --help` shows both")
        else:
            return word, words[:at] + words[at + 1:]
    return None, words


def _short_flags(word: str) -> bool:
    return word.startswith("-") and set(word[1:]) <= {"v", "q"}


def _parser(prog: str, summary: str, details: str) -> Parser:
    parser = Parser(prog=prog, description=f"{summary[:1].upper()}{summary[1:]}. {details}".strip(),
                    epilog=_POINT_HELP, allow_abbrev=False)
    group = parser.add_argument_group("global options")
    group.add_argument("--config", metavar="FILE", help="read this configuration file alone")
    group.add_argument("--store", metavar="DIR", help="the store to use")
    group.add_argument("--root", metavar="DIR", help="the tree that is taken and rolled back (default: /)")
    group.add_argument("--json", action="store_true", dest="as_json",
                       help="answer with one JSON document on stdout; messages go to stderr")
    group.add_argument("-v", "--verbose", action="count", default=0,
                       help="say more; show the traceback of a defect")
    group.add_argument("-q", "--quiet", action="store_true",
                       help="say nothing but the answer, warnings and errors")
    return parser


def _options(args: argparse.Namespace) -> Options:
    if args.quiet and args.verbose:
        raise UsageError("-q and -v do not go together")
    return Options(config=args.config, store=args.store, root=args.root, as_json=args.as_json,
                   verbose=args.verbose, quiet=args.quiet)


def _similar(word: str) -> str:
    import difflib

    names = [command.name for command in commands.every()]
    close = difflib.get_close_matches(word, names, 1)
    return f"did you mean `{close[0]}`?" if close else "the commands are: " + ", ".join(names)


# --- no command ---------------------------------------------------------------------------------------------

def _without_command(words: list[str]) -> int:
    if "-h" in words or "--help" in words:
        print(overview())
        return 0
    parser = _parser("rollpoint", "", "")
    parser.add_argument("--version", action="store_true")
    args = parser.parse(words)
    if args.version:
        print(f"rollpoint {__version__}")
        return 0
    options = _options(args)
    if options.as_json:
        raise UsageError("--json needs a COMMAND", hint="for example `rollpoint list --json`")
    context = Context(options, Output(verbose=options.verbose))
    return _guarded(context.out, {}, lambda: open_app(context))


def open_app(context: Context) -> int:
    """Open the full-screen app on the context's configuration and return its exit code."""
    from tui.output import is_terminal

    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError("the full-screen app needs a terminal", hint="`rollpoint --help` shows the commands")
    config = context.config
    from tui.environment import tidy

    tidy(os.environ)
    garbage.off()
    try:
        from tui.app import run_app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        raise RollpointError(f"the full-screen app needs the Python package {error.name}",
                             hint="the commands work without it: `rollpoint --help`") from None
    return int(run_app(config))


def overview() -> str:
    """Return the help that shows all verbs."""
    lines = ["usage: rollpoint [--config FILE] [--store DIR] [--root DIR] [--json] [-v|-q] COMMAND …", "",
             "Restore points of a server. With no COMMAND: the full-screen app.", "", "commands:"]
    lines += [f"  {command.name:<12}{command.summary}" for command in commands.every()]
    lines += ["", "`rollpoint COMMAND --help` shows a command's own options.", ""]
    import textwrap

    return "\n".join(lines + textwrap.wrap(_POINT_HELP, 100))


# --- every ending -------------------------------------------------------------------------------------------

def _guarded(out: Output, partial: dict[str, Any], work: Callable[[], int]) -> int:
    """Run `work`; turn whatever it raises into messages, the JSON error document, and an exit code."""
    try:
        try:
            code = work()
            out.flush()
            return code
        except RollpointError as error:
            return _failed(out, partial, error.message, error.hint, error.exit_code)
        except KeyboardInterrupt:
            return _failed(out, partial, "interrupted", "", FAILED)
        except BrokenPipeError:
            raise
        except OSError as error:
            from tui.oserrors import explain

            return _failed(out, partial, *explain(error), FAILED)
        except MemoryError:
            return _failed(out, partial, "out of memory", "", FAILED)
        except Exception as error:
            return _failed(out, partial, *_defect(out, error), FAILED)
    except OSError:                     # nobody reads what we write (| head): end without a word
        silence_streams()
        return FAILED


def _failed(out: Output, partial: dict[str, Any], message: str, hint: str, code: int) -> int:
    out.error(message, hint)
    if out.as_json:
        out.document({"error": {"message": message, "hint": hint, "exit_code": code}, **partial})
    out.flush()
    return code


def _defect(out: Output, error: Exception) -> tuple[str, str]:
    """Return message and hint for an error nobody foresaw; its traceback goes to a file, or to stderr
    with -v."""
    import tempfile
    import traceback

    trace = "".join(traceback.format_exception(error))
    message = f"unexpected {type(error).__name__}: {error}"
    if out.verbose:
        for line in trace.splitlines():
            out.debug(line)
        return message, ""
    try:
        handle, path = tempfile.mkstemp(prefix="rollpoint-traceback-", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(trace)
    except OSError:
        return message, "-v shows the traceback"
    return message, f"this is a defect of Rollpoint; please report it with {path}"


if __name__ == "__main__":
    sys.exit(main())
