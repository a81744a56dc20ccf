"""What a build leaves in the Prefect UI: a progress bar, the funnel as a table, a summary in Markdown."""

from __future__ import annotations

from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from storage.run_directory import RunRecord
from tasks.funnel import Funnel


class ProgressArtifact:
    """The accepted share of the target, as a bar in the UI."""

    def __init__(self, name: str) -> None:
        self._id: UUID = create_progress_artifact(  # type: ignore[assignment]
            progress=0.0,
            key=f"progress-{name}".replace("_", "-"),
            description=f"Accepted share of the target of {name}.",
        )

    def update(self, share: float) -> None:
        """Set the bar; share from 0 to 1."""
        update_progress_artifact(artifact_id=self._id, progress=round(100 * share, 1))


def funnel_rows(funnel: Funnel) -> list[dict[str, object]]:
    """The funnel, one row a stage."""
    return [
        {
            "stage": step.stage,
            "alive after it": step.num_alive,
            "rejected here": sum(step.rejected.values()),
            "for": ", ".join(f"{code} {count}" for code, count in step.rejected.items()),
        }
        for step in funnel.steps
    ]


def summary_markdown(record: RunRecord, funnel: Funnel) -> str:
    """The build in a few lines."""
    engines = "\n".join(f"| {name} | {seconds:.1f} |" for name, seconds in funnel.engine_seconds.items())
    reasons = "\n".join(f"| {code} | {count} |" for code, count in funnel.rejected.items())
    return (
        f"# {record.recipe['name']}\n\n{record.outcome}\n\n"
        f"* seal `{record.seal}`\n"
        f"* {funnel.accepted} of {funnel.candidates} candidates accepted ({100 * funnel.acceptance:.0f} %), "
        f"{funnel.accepted_hours:.3f} hours of speech\n\n"
        f"| rejected for | candidates |\n|---|---|\n{reasons}\n\n| engine | busy seconds |\n|---|---|\n{engines}\n"
    )


def publish(record: RunRecord, funnel: Funnel) -> None:
    """Put the funnel and the summary into the UI."""
    name = str(record.recipe["name"]).replace("_", "-")
    create_table_artifact(key=f"funnel-{name}", table=funnel_rows(funnel), description="Candidates through the stages.")
    create_markdown_artifact(key=f"summary-{name}", markdown=summary_markdown(record, funnel))
