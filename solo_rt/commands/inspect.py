"""`solo-rt inspect`."""

from __future__ import annotations

import click

from solo_rt.commands.options import as_json, print_json, verbose


@click.command()
@click.argument("model", required=False)
@as_json
@verbose
def inspect(model: str | None, as_json: bool) -> int:
    """Show what a model is: a shipped name, an .onnx file, or an .engine with the file beside it."""
    from solo_rt.commands.tables import print_model
    from solo_rt.engine.model_card import describe_model

    card = describe_model(model)
    print_json(card) if as_json else print_model(card)
    return 0
