"""`crawl completion`: the script that lets a shell complete verbs, options and file names."""

from __future__ import annotations

import os
from typing import Final

import click

_VARIABLE: Final = "_CRAWL_COMPLETE"
_SHELLS: Final = ("bash", "zsh", "fish")


def answer_shell(group: click.Command) -> int | None:
    """Answer a shell that asks for completions through the environment; None when none asks."""
    instruction = os.environ.get(_VARIABLE)
    if not instruction:
        return None
    from click.shell_completion import shell_complete

    return shell_complete(group, {}, "crawl", _VARIABLE, instruction)


def _print_script(shell: str) -> int:
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(completion(root, {}, "crawl", _VARIABLE).source())
    return 0


completion_command: Final = click.Command(
    "completion",
    callback=_print_script,
    params=[click.Argument(["shell"], type=click.Choice(_SHELLS))],
    short_help="Print the completion script of a shell.",
    help="""Print the script that completes crawl's verbs, options and files in a shell.

\b
bash:  crawl completion bash >> ~/.bashrc
zsh:   crawl completion zsh >> ~/.zshrc
fish:  crawl completion fish > ~/.config/fish/completions/crawl.fish
""",
    context_settings={"help_option_names": ["-h", "--help"]},
)
