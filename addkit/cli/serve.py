"""`addkit serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from addkit.cli.completion import complete_run
from addkit.cli.options import WeightsOption

LIMITS = "Limits"


def serve(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Run, checkpoint or pack; the newest finished run if absent.",
            show_default=False,
            autocompletion=complete_run,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ADDKIT_SERVE_TOKEN",
            help="What requests must carry as `Authorization: Bearer TOKEN`.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=1024, help="Processes, each with the model.")
    ] = 1,
    device: Annotated[str, typer.Option(help="Such as cpu or cuda:0.")] = "cpu",
    weights: WeightsOption = "ema",
    max_body: Annotated[
        int, typer.Option(min=1, max=4000, help="Megabytes of a request.", rich_help_panel=LIMITS)
    ] = 20,
    max_pixels: Annotated[
        int, typer.Option(min=1, max=1000, help="Megapixels of a picture.", rich_help_panel=LIMITS)
    ] = 50,
    max_steps: Annotated[
        int, typer.Option(min=1, max=100_000, help="Steps of a chain.", rich_help_panel=LIMITS)
    ] = 200,
    max_chains: Annotated[
        int, typer.Option(min=1, max=4096, help="Chains of a picture.", rich_help_panel=LIMITS)
    ] = 64,
    queue: Annotated[
        int, typer.Option(min=1, help="Requests that may wait.", rich_help_panel=LIMITS)
    ] = 256,
) -> None:
    """Serve a run over HTTP, with a page to try it. Needs `addkit[serve]`.

    addkit serve runs/digits-20261124-120000 --port 8000
    """
    from addkit.cli.output import Output, note, stop_spinner
    from addkit.cli.run_arguments import find_run
    from addkit.errors import UsageError
    from addkit.runs.opening import opened
    from addkit.serving.limits import MEGA, Limits

    try:
        from addkit.serving.server import ServerOptions, serve
    except ImportError as error:
        raise UsageError(
            f'{error.name} is missing; `pip install "addkit[serve]"` installs it'
        ) from None

    options = ServerOptions(
        host=host,
        port=port,
        token=token or None,
        workers=workers,
        device=device,
        weights=weights,
        limits=Limits(
            body=max_body * MEGA,
            pixels=max_pixels * MEGA,
            steps=max_steps,
            chains=max_chains,
            queue=queue,
        ),
    )
    # Before a download.
    options.check()

    def started(address: str) -> None:
        stop_spinner()
        Output().line(address)
        note(f"a page at {address}/, the API at {address}/docs; Ctrl-C stops")

    with opened(find_run(run)) as path:
        serve(path, options, started)
