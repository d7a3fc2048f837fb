"""Help that can be read: a command's options stand under headings, examples come last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import click
from click_default_group import DefaultGroup


class OptionGroup(NamedTuple):
    """Options that stand under one ``heading`` of the help."""

    heading: str
    options: Sequence[click.Option]


class GroupedCommand(click.Command):
    """A verb whose help lists ``groups`` under their headings and ends with ``examples``."""

    def __init__(
        self,
        name: str,
        *,
        callback: Callable[..., object],
        arguments: Sequence[click.Argument],
        groups: Sequence[OptionGroup],
        help: str,
        short_help: str,
        examples: Sequence[str],
    ) -> None:
        options = [option for group in groups for option in group.options]
        super().__init__(
            name,
            callback=callback,
            params=[*arguments, *options],
            help=help,
            short_help=short_help,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self.groups = tuple(groups)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group of options under its heading, then ``--help``."""
        for heading, options in self.groups:
            write_options(ctx, formatter, heading, options)
        help_option = self.get_help_option(ctx)
        if help_option is not None:
            write_options(ctx, formatter, "Other", [help_option])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, a line each, never wrapped: they are made to be copied."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class VerbGroup(DefaultGroup):  # type: ignore[misc]  # click_default_group has no types
    """Verbs, one of which is meant where none is named; its options show in the group's help."""

    def __init__(
        self,
        name: str,
        *,
        default: GroupedCommand,
        verbs: Sequence[click.Command],
        options: Sequence[click.Option],
        help: str,
    ) -> None:
        # No short options here: click would find one inside a verb's own, as the h in -dhello.
        super().__init__(
            name,
            default=default.name,
            commands={verb.name: verb for verb in (default, *verbs)},
            params=list(options),
            help=help,
            no_args_is_help=False,
        )
        self.default = default

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the verbs in the order of their declaration."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help when nothing at all is given: exit 2, as a script that lost its list."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the two ways to call it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] [URL]...")
        formatter.write_usage(ctx.command_path, "VERB [OPTIONS] ...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the default verb's options, our own, and the verbs."""
        for heading, options in self.default.groups:
            write_options(ctx, formatter, heading, options)
        own = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        write_options(ctx, formatter, "Other", own)
        with formatter.section("Verbs (crawl VERB --help tells more)"):
            formatter.write_dl([(name, _short(verb)) for name, verb in self.commands.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the default verb's examples."""
        self.default.format_epilog(ctx, formatter)

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete verbs, and the default verb's options, as it is meant where none is named."""
        found: list[click.shell_completion.CompletionItem]
        found = super().shell_complete(ctx, incomplete)
        known = {item.value for item in found}
        with click.Context(self.default, parent=ctx) as default_ctx:
            more = self.default.shell_complete(default_ctx, incomplete)
        return found + [item for item in more if item.value not in known]


def write_options(
    ctx: click.Context,
    formatter: click.HelpFormatter,
    heading: str,
    options: Sequence[click.Option],
) -> None:
    """Write ``options`` under ``heading``; nothing where all of them are hidden."""
    records = [record for option in options if (record := option.get_help_record(ctx))]
    if records:
        with formatter.section(heading):
            formatter.write_dl(records)


def _short(verb: click.Command) -> str:
    return verb.get_short_help_str(limit=60)
