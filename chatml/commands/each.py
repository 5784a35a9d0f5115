"""The one loop over NAMEs: after a failure the rest is still done, and the worst exit code is returned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from chatml import output
from chatml.errors import ChatmlError, UsageError, of_machine
from chatml.model import Session, Status
from chatml.model.outcome import FAILED, Outcome
from chatml.project import Project, open_project
from chatml.render import rows
from chatml.sessions import find
from chatml.text import shorten

if TYPE_CHECKING:
    from chatml.sessions.limits import NewLimits
    from chatml.sessions.vetting import Testing

T = TypeVar("T")


class Each:
    """A command's way through the sessions: tells at once what fails, and keeps what became of each."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.outcomes: list[Outcome] = []
        self.code = 0
        """The worst exit code so far."""

    def named(self, names: Iterable[str]) -> list[str]:
        """These names, each once; without any, the session in whose worktree the command was called."""
        return list(dict.fromkeys(names)) or [find.resolve(self.project, None).name]

    def everyone(self) -> list[Session]:
        """All sessions, oldest first; damaged records count as failures."""
        found, damaged = find.load_all(self.project)
        for error in damaged:
            self.failed(error.name, error)
        return found

    def chosen(
        self, names: Sequence[str], everyone: bool, pick: Callable[[list[Session]], Iterable[Session]]
    ) -> list[str]:
        """These names, or the one here; with `everyone` those that are picked of all. UsageError for both."""
        if not everyone:
            return self.named(names)
        if names:
            raise UsageError("--all takes no names")
        return [session.name for session in pick(self.everyone())]

    def sessions(self, names: Sequence[str]) -> list[Session]:
        """The sessions of these names, or all without any; those that can't be had count as failures."""
        found, trouble = find.find(self.project, names)
        self.code = max([self.code, *map(output.complain, trouble)])
        return found

    def do(self, targets: Iterable[T], act: Callable[[T], Outcome], name: Callable[[T], str] = str) -> None:
        """Do it to each of them; what fails is told, and no reason to stop."""
        for target in targets:
            try:
                self.outcomes.append(act(target))
            except (ChatmlError, OSError) as error:
                self.failed(name(target), error)

    def failed(self, name: str, error: ChatmlError | OSError, about: str = "") -> None:
        """Tell an expected failure, ours or the machine's, and count it."""
        self.code = max(self.code, output.complain(error, about))
        failure = of_machine(error) if isinstance(error, OSError) else error
        self.outcomes.append(Outcome(name, FAILED, failure=failure))

    def tell_limits(self, name: str, limits: NewLimits, say: Callable[[str], None]) -> None:
        """What the session may use now, where that was changed."""
        from chatml.render import outcomes  # here alone: those who only look change no limits

        for session in there(self.project, [name]) if limits.any() else ():
            say(outcomes.allowed(session, limits))

    def tell_places(self, say: Callable[[str], None]) -> None:
        """Which of the sessions that it was done to don't start yet."""
        self.add("queue_place", tell_places(self.project, [outcome.name for outcome in self.done()], say))

    def add(self, key: str, values: Mapping[str, object]) -> None:
        """Tell scripts this too of each session that it was done to: its value by the session's name, or null."""
        self.outcomes = [
            one if one.failure else replace(one, details={**one.details, key: values.get(one.name)})
            for one in self.outcomes
        ]

    def done(self) -> list[Outcome]:
        """What did not fail."""
        return [outcome for outcome in self.outcomes if outcome.failure is None]

    def end(self, as_json: bool) -> int:
        """The exit code; as JSON, first what became of each session, in their order."""
        if as_json:
            output.json_answer([outcome.to_json() for outcome in self.outcomes])
        return self.code


def places(at: Path, names: Sequence[str], everywhere: bool) -> Iterator[Each]:
    """The repository at `at`, or with `everywhere` each of this user's; one that can't be looked into is told.

    UsageError for names with `everywhere`: a name is one repository's.
    """
    if not everywhere:
        yield Each(open_project(at))
        return
    if names:
        raise UsageError("--everywhere takes no names: they are those of one repository")
    from chatml.sessions.everywhere import projects  # here alone: most calls are about one repository

    for found in projects(at):
        if isinstance(found, ChatmlError):
            output.warning(f"{found.message}; its sessions are not listed")
        else:
            yield Each(found)


def tell_places(project: Project, names: Iterable[str], say: Callable[[str], None]) -> dict[str, int | None]:
    """Which of the sessions don't start yet, with their place in the queue."""
    found = find.with_places(project, there(project, names))
    queued = [session for session in found if session.status is Status.QUEUED]
    for session in queued:
        say(f"{session.name} is {rows.queued(session)}")
    return {session.name: session.seen.queue_place for session in queued}


def there(project: Project, names: Iterable[str]) -> list[Session]:
    """The sessions as they are now; what became of one that isn't there any more is for others to say."""
    found = []
    for name in names:
        with suppress(ChatmlError, OSError):
            found.append(find.load(project, name))
    return found


def tell_runs(show: Callable[[str], None], quiet: bool = False) -> Callable[[Testing], None]:
    """Tells on a terminal what a check is run on, on one line."""
    from chatml.render.landings import testing  # here alone: most commands that name sessions land none

    def tell(run: Testing) -> None:
        if not quiet:
            show(shorten(testing(run), output.width() - 1))

    return tell
