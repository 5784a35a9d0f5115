"""Makes the commits by which one session's work comes onto a branch: in memory, no ref or checkout is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from chatml.errors import ChatmlError, GitError
from chatml.landing import message
from chatml.landing.hooks import Hooks
from chatml.landing.message import Authored
from chatml.repo import Repository
from chatml.repo.answers import answer, holds
from chatml.repo.attributes import attributes_of
from chatml.repo.merging import MergeConflictError, merges
from chatml.repo.plumbing import NOBODY


class Mode(Enum):
    """How the work comes onto the branch."""

    SQUASH = "squash"
    FF = "ff"
    NO_FF = "no-ff"
    REBASE = "rebase"


@dataclass(frozen=True)
class Offer:
    """What a session brings."""

    name: str
    branch: str
    tip: str
    title: str
    """The subject of a squash of several commits."""
    known: tuple[str, ...] = ()
    """Commits whose content the target has, though they are none of its history: squashed or rebased before."""


class NothingNewError(ChatmlError):
    """The target has all that the session brings."""


class NotForwardError(ChatmlError):
    """The target has commits that the session lacks."""


Edit = Callable[[str, str], str]
"""Lets the person change the message for a session's commit; gets the session's name and the message."""


@dataclass
class Maker:
    """Makes commits for one branch, one session after the other."""

    repository: Repository
    mode: Mode
    into: str
    hooks: Hooks | None = None
    """None for a trial: no hook runs, nothing is signed, nobody is asked."""
    edit: Edit | None = None
    _edited: dict[str, str] = field(default_factory=dict)
    """What the person has made of messages: asked once, however often a commit has to be made anew."""

    def make(self, offer: Offer, onto: str) -> str:
        """The commit that has the session's work on top of the commit `onto`.

        NothingNewError, NotForwardError, MergeConflictError or HookError where there can't be one; GitError.
        """
        if self._contains(onto, offer.tip):
            raise NothingNewError(f"{self.into} has all of it already")
        known = [one for one in offer.known if not self._contains(onto, one)]
        ways = {
            Mode.SQUASH: self._squash, Mode.FF: self._forward, Mode.NO_FF: self._merge, Mode.REBASE: self._rebase,
        }  # fmt: skip
        return ways[self.mode](offer, onto, known)

    # --- the four ways ------------------------------------------------------------------------------------------

    def _squash(self, offer: Offer, onto: str, known: Sequence[str]) -> str:
        tree = self._merged(offer, onto, known)
        commits = message.authored(self.repository, "--no-merges", offer.tip, f"^{onto}", *(f"^{one}" for one in known))
        commits = commits or message.authored(self.repository, "-1", offer.tip)
        text = message.of_squash(self.repository, offer.name, offer.title, commits)
        return self._commit(tree, (onto,), self._settled(offer, text), commits[-1])

    def _forward(self, offer: Offer, onto: str, known: Sequence[str]) -> str:
        del known
        if not self._contains(offer.tip, onto):
            raise NotForwardError(
                f"{self.into} has commits that {offer.name} lacks: it can't be fast-forwarded",
                f"land it with a merge commit: chatml merge --no-ff {offer.name}; or bring it up to date first",
            )
        return offer.tip

    def _merge(self, offer: Offer, onto: str, known: Sequence[str]) -> str:
        tree = self._merged(offer, onto, known)
        text = message.of_merge(self.repository, offer.name, offer.branch, offer.tip, self.into)
        if self.hooks is not None:
            tree = self.hooks.merge(tree)
        return self._commit(tree, (onto, offer.tip), self._settled(offer, text), None)

    def _rebase(self, offer: Offer, onto: str, known: Sequence[str]) -> str:
        without = (f"^{onto}", *(f"^{one}" for one in known))
        listed = self.repository.git("rev-list", "--reverse", "--topo-order", "--parents", offer.tip, *without)
        rows = [line.split() for line in listed.text.splitlines()]
        if not known and all(len(row) == 2 for row in rows) and rows[0][1] == onto:
            return offer.tip  # they are where they would come
        tip = onto
        for commit, *parents in rows:
            if len(parents) <= 1:  # as `git rebase`, which takes the commits that merges have brought one by one
                tip = self._picked(commit, parents, tip)
        if tip == onto:
            raise NothingNewError(f"{self.into} has all of it already")
        return tip

    def _picked(self, commit: str, parents: Sequence[str], tip: str) -> str:
        """The commit made anew on another one; that one itself where nothing of it is left."""
        base, theirs = parents[0] if parents else "", commit
        if not base:
            nothing = self.repository.git("mktree", stdin=b"").text.strip()
            base = self._made_up(nothing, ())
            theirs = self._made_up(self._tree(commit), (base,))
        tree = self._clean(self._made_up(self._tree(tip), (base,)), theirs, tip)
        if tree == self._tree(tip):
            return tip
        (one,) = message.authored(self.repository, "-1", commit)
        return self._commit(tree, (tip,), one.message + "\n", one)

    # --- in memory ----------------------------------------------------------------------------------------------

    def _merged(self, offer: Offer, onto: str, known: Sequence[str]) -> str:
        """The tree of a merge. NothingNewError where it is that of the target."""
        own = self._tree(onto)
        # With what has come by other commits as its parents, git takes that for where the two have parted.
        ours = self._made_up(own, (onto, *known)) if known else onto
        tree = self._clean(ours, offer.tip, onto)
        if tree == own:
            raise NothingNewError(f"{self.into} has all of it already")
        return tree

    def _clean(self, ours: str, theirs: str, onto: str) -> str:
        with attributes_of(self.repository, onto) as top:
            (found,) = merges(self.repository, [(ours, theirs)], top=top)
        if not found.clean:
            raise MergeConflictError(found.unmerged)
        return found.tree

    def _made_up(self, tree: str, parents: Sequence[str]) -> str:
        """A commit by nobody, for git to compute with."""
        dates = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}
        words = [word for parent in parents for word in ("-p", parent)]
        return self.repository.git("commit-tree", tree, *words, "-m", "-", env={**NOBODY, **dates}).text.strip()

    def _settled(self, offer: Offer, text: str) -> str:
        """The message as the person and their hook leave it. ChatmlError for an empty one."""
        if self.hooks is None:
            return text
        if self.edit is not None:
            if offer.name not in self._edited:
                self._edited[offer.name] = message.tidied(self.repository, self.edit(offer.name, text), comments=True)
            text = self._edited[offer.name]
        if (after := self.hooks.message(text)) != text:
            text = message.tidied(self.repository, after)
        if not text.strip():
            raise ChatmlError(f"the message for '{offer.name}' is empty, so nothing was landed", "say what it does")
        return text

    def _commit(self, tree: str, parents: Sequence[str], text: str, author: Authored | None) -> str:
        words = [word for parent in parents for word in ("-p", parent)]
        env = {**({} if self.hooks else NOBODY), **(author.env if author else {})}
        sign = ["-S"] if self._signs else []
        asked = ("commit-tree", tree, *words, *sign, "-F", "-")
        try:
            return self.repository.git(*asked, env=env, stdin=message.encoded(text)).text.strip()
        except GitError as error:  # the person's name or key: the same for every session
            raise ChatmlError(f"no commit could be made, so nothing was landed: {error.message}", error.hint) from error

    @cached_property
    def _signs(self) -> bool:
        if self.hooks is None:
            return False
        asked = self.repository.git("config", "--type=bool", "--get", "commit.gpgSign", check=False)
        return answer(asked) == "true"

    def _tree(self, commit: str) -> str:
        return self.repository.git("rev-parse", f"{commit}^{{tree}}").text.strip()

    def _contains(self, commit: str, other: str) -> bool:
        return holds(self.repository.git("merge-base", "--is-ancestor", other, commit, check=False))
