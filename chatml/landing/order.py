"""What a person asks of `pr`, and how to ask for it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """What the person asked for; None leaves it to the session, or as it is on a pull request that exists."""

    title: str | None = None
    body: str | None = None
    base: str | None = None
    remote: str | None = None
    commit: str | None = None
    draft: bool = False
    replace_pushed: bool = False
    force: bool = False
    """Publish although something in the worktree can't come along."""

    def again(self, name: str, *further: str, committed: bool = True) -> str:
        """The command line that goes on from here, for hints: one that is followed must not undo what was asked for.

        Without `committed`, the commit that was asked for is still to be made.
        """
        flags = {"--draft": self.draft, "--force": self.force}
        asked = [flag for flag, given in flags.items() if given and flag not in further]
        texts = {"--title": self.title, "--body": self.body, "--base": self.base, "--remote": self.remote}
        if not committed:
            texts["--commit"] = self.commit
        for flag, text in texts.items():
            if text is not None and flag not in " ".join(further).split():
                asked += [flag, shlex.quote(text)]
        return " ".join(["chatml pr", name, *further, *asked])
