"""The owner's own pages, brought up to date when a survey is at its end: a marked part of each is made anew."""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from bench.controller import surveys
from bench.controller.run import Run
from bench.errors import BadInput
from bench.publish.names import Names, name_publication
from bench.publish.settings import Page
from bench.records.survey import Survey, Surveyed
from bench.report import words
from bench.report.record import escape_md
from bench.report.survey import outcome

_OURS = Path(__file__).with_name("templates")
_NAME = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Model:
    """What a template is given of a model of the chain."""

    surveyed: Surveyed
    names: Names | None
    """Of its publication; null for a model that was not run."""

    @property
    def title(self) -> str:
        """Return its name for people."""
        return self.surveyed.title

    @property
    def sentence(self) -> str | None:
        """Return what its verdict says."""
        return self.surveyed.sentence

    @property
    def outcome(self) -> str:
        """Return what came of it, in a word or two."""
        return outcome(self.surveyed)

    def pair(self, figure: str, unit: str = "") -> str:
        """Return a figure of both sides, the candidate's first; nothing where neither was measured."""
        sides = (self.surveyed.candidate, self.surveyed.baseline)
        if not any(sides):
            return ""
        found = [words.number(getattr(side, figure), unit) if side else words.NOT_TAKEN for side in sides]
        return " / ".join(found)


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a page that is ours."""

    path: str
    mark: str
    body: str


def read_pages(given: Sequence[object]) -> list[Page]:
    """Read pages as a user gives them.

    Raises:
        BadInput: a key is missing, or is one too many.
    """
    try:
        return [Page.model_validate(each) for each in given]
    except ValidationError as error:
        raise BadInput(
            f"publish_pages: each page has a `path` and a `template`: {error.errors()[0]['msg']}."
        ) from error


def write_sections(run: Run, pages: Sequence[Page]) -> list[Section]:
    """Return our part of each page, if this run has ended its survey; else nothing.

    Raises:
        BadInput: a page's path or template cannot be used.
    """
    for page in pages:
        _check_path(page.path)
    survey = surveys.gather(run)
    last = [each.run_id for each in survey.models if each.decision is not None][-1:]
    if not pages or not survey.complete or last != [run.run_id]:
        return []
    models = [
        Model(each, name_publication(Run(run.path.parent / each.run_id)) if each.run_id else None)
        for each in survey.models
    ]
    return [
        Section(page.path, f"{Path(page.template).stem} of {survey.host}", _render(page, survey, models))
        for page in pages
    ]


def place(section: Section, page: bytes | None) -> bytes:
    """Return a page with our part in it: between its marks, else at the end; a page of its own where there is none.

    Raises:
        BadInput: the page is no UTF-8, or has one mark without the other.
    """
    try:
        text = (page or b"").decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{section.path} is not UTF-8, so it cannot be brought up to date.") from error
    newline = "\r\n" if "\r\n" in text else "\n"
    opening = f"<!-- audition {section.mark}: made at the end of a survey, and made anew by the next -->"
    closing = f"<!-- end of audition {section.mark} -->"
    ours = f"{opening}\n{section.body.strip()}\n{closing}".replace("\n", newline)
    marks = (text.count(f"<!-- audition {section.mark}:"), text.count(closing))
    if marks == (0, 0):
        return (
            f"{text.rstrip()}{newline}{newline}" if text.strip() else ""
        ).encode() + f"{ours}{newline}".encode()
    pattern = rf"<!-- audition {re.escape(section.mark)}:.*?{re.escape(closing)}"
    changed, times = re.subn(pattern, lambda _found: ours, text, flags=re.DOTALL)
    if marks != (1, 1) or times != 1:
        raise BadInput(
            f"{section.path} must have the lines `<!-- audition {section.mark}: … -->` and `{closing}` once each, in "
            "this order; mend the page, then publish."
        )
    return changed.encode()


def _check_path(path: str) -> None:
    at = PurePosixPath(path)
    if at.is_absolute() or ".." in at.parts or not at.parts or at.parts[0] == ".git" or str(at) != path:
        raise BadInput(f"publish_pages: '{path}' must be a path inside the repository, as docs/SURVEY.md.")


def _render(page: Page, survey: Survey, models: Sequence[Model]) -> str:
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    named = _NAME.fullmatch(page.template) is not None
    path = _OURS / f"{page.template}.md" if named else Path(page.template).expanduser()
    if not path.is_file():
        ours = ", ".join(sorted(each.stem for each in _OURS.glob("*.md")))
        raise BadInput(
            f"publish_pages: there is no template {page.template}; a file's path, or one of ours: {ours}."
        )
    folder = posixpath.dirname(page.path)
    environment = SandboxedEnvironment(
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        md=escape_md, number=words.number, gib=words.gib, link=lambda to: posixpath.relpath(to, folder or ".")
    )
    try:
        template = environment.from_string(path.read_text("utf-8"))
        return template.render(survey=survey, models=models)
    except (TemplateError, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"publish_pages: the template {path} cannot be used: {error}") from error
