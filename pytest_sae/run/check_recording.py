"""Recorded activations before a run: their files, and whether they have the run's texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.run.checked import Checked, checked

if TYPE_CHECKING:
    from pytest_sae.activations.recording import Recording
    from pytest_sae.data.tasks import Tasks


def recording(directory: Path | None) -> tuple[Recording | None, list[Checked]]:
    """Return the recording of a run, None where there is none, and what was found of it.

    Args:
        directory: as --sae-activations names it, None for none.
    """
    from pytest_sae import option_values
    from pytest_sae.activations.recording import Recording

    if directory is None:
        return None, []
    read: list[Recording] = []

    def look() -> str:
        option_values.activations(str(directory))
        read.append(Recording.open(directory))
        about = read[0].about
        count, name = len(read[0].lines), about.model.name
        return f"{count:,} texts of {name} at {about.site.hook_name}, {about.widths['x']} wide"

    found = checked(f"activations {directory}", look)
    return (read[0] if read else None), [found]


def texts(recording: Recording, tasks: Tasks) -> Checked:
    """Return whether all texts of the data were recorded, and how many are missing.

    Args:
        recording: opened.
        tasks: of the run.

    Returns:
        What was found, as a line of `check`.
    """
    from pytest_sae.session.record_activations import parts_of

    wanted = [text for part in parts_of(tasks).values() for text in part]

    def look() -> str:
        recording.lines_of(wanted)
        return f"all {len(wanted):,} texts of the data are there"

    return checked(f"activations {recording.directory}", look)
