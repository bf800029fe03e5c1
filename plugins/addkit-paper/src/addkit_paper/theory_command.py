"""`addkit theory`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from addkit.cli.completion import complete_run
from addkit.cli.options import JsonOption

if TYPE_CHECKING:
    from addkit.cli.output import Output
    from addkit_paper.theory.findings import Finding, Result
    from addkit_paper.theory.run_report import RunReport


def theory(
    names: Annotated[
        list[str] | None, typer.Argument(help="Results to check; all if none is named.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the results without checking them.")
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            help="A run: entropy along its chains, and the distance of its head to the exact one.",
            autocompletion=complete_run,
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Test images for --run.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the noise of --run.")] = 0,
    json: JsonOption = False,
) -> None:
    """Measure results of theory with the exact denoiser. Exit code 1 if one does not hold.

    addkit theory flip-law drift
    """
    from addkit.cli.output import Output
    from addkit_paper.theory import named

    output = Output(json=json)
    results = named(names or [])
    if list_:
        _list(output, results)
        return
    findings = [result.find() for result in results] if names or run is None else []
    report = None
    if run is not None:
        from addkit_paper.theory.run_report import measure_run

        report = measure_run(run, images, seed)
    if json:
        run_data = None if report is None else report.data()
        output.data({"results": [finding.data() for finding in findings], "run": run_data})
    else:
        _show(output, findings)
        _show_run(output, report)
    if not all(finding.holds for finding in findings):
        raise typer.Exit(1)


def _list(output: Output, results: Sequence[Result]) -> None:
    if not output.for_people:
        # Without `check`, which is a function.
        output.data(
            [{"name": r.name, "statement": r.statement, "equation": r.equation} for r in results]
        )
        return
    for result in results:
        output.line(result.name)
        output.line(f"  {result.statement}")
        output.line(f"  {result.equation}")


def _show(output: Output, findings: Sequence[Finding]) -> None:
    for finding in findings:
        verdict = "holds" if finding.holds else "does not hold"
        output.line(f"{finding.result.name}: {verdict}. {finding.result.statement}")
        output.table(
            ["", "", "predicted", "measured", "tolerance", "verdict"],
            [
                [
                    f"  {one.what}",
                    one.relation,
                    f"{one.predicted:.4f}",
                    f"{one.measured:.4f}",
                    f"{one.tolerance:.1g}",
                    "holds" if one.holds else "does not hold",
                ]
                for one in finding.measurements
            ],
            words=2,
        )
        output.line()
    if findings:
        good = sum(finding.holds for finding in findings)
        output.line(f"{good} of {len(findings)} results hold (docs/theory.md)")


def _show_run(output: Output, report: RunReport | None) -> None:
    if report is None:
        return
    output.table(
        ["step", "t", "entropy, bits"],
        [[str(one.step), f"{one.t:.2f}", f"{one.bits:.3f}"] for one in report.entropies],
        title=f"along the chains of {report.images} test images",
    )
    output.line()
    if report.unknown:
        output.line(f"no distance to the exact posterior: {report.unknown}")
        return
    output.table(
        ["m", "KL, nats"],
        [[f"{one.m:g}", f"{one.kl:.2g}"] for one in report.distances],
        title="KL(softmax(log p + c_t y_t) || head), p its own answer at y_T = 0",
    )
    output.line("0 is exact")
