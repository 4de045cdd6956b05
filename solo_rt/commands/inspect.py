"""`solo-rt inspect`."""

from __future__ import annotations

import click

from solo_rt.commands.options import as_json, command, print_json, require_torch


@command()
@click.argument("model", required=False)
@as_json
def inspect(model: str | None, as_json: bool) -> int:
    """Show what a model is: a shipped name, an .onnx file, an .engine with the file beside it, or a checkpoint.

    Without a MODEL it is solov2-nano.
    """
    from solo_rt.commands.tables import print_model
    from solo_rt.engine import find_model
    from solo_rt.engine.model_card import describe_model

    path = find_model(model)
    if path.suffix == ".pt":
        require_torch("inspect of a checkpoint")
        from solo_rt.train.checkpoint import describe_checkpoint

        card = describe_checkpoint(path)
    else:
        card = describe_model(path)
    print_json(card) if as_json else print_model(card)
    return 0
