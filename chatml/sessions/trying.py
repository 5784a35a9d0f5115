"""Shows a session in the main checkout, for a person: never for an agent."""

from __future__ import annotations

from chatml.errors import ChatmlError
from chatml.project import Project
from chatml.sessions import control
from chatml.sessions.caller import persons_only
from chatml.sessions.find import resolve
from chatml.trying import ending, showing
from chatml.trying.ending import Ended
from chatml.trying.showing import Update


def show(project: Project, name: str) -> Update:
    """Show its state as it is now. ChatmlError where it has no files yet, and as of `showing.show`."""
    persons_only(project, "change the main checkout")
    control.locate(project, name)
    session = resolve(project, name)
    if not session.checkout.populated:
        raise ChatmlError(f"'{name}' has no files yet", f"see 'chatml ls {name}'")
    return showing.show(project.repo, project.store, session)


def stop(project: Project) -> Ended:
    """Put back what was there."""
    persons_only(project, "change the main checkout")
    return ending.stop(project.repo, project.store)
