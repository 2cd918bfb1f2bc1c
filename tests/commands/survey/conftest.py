from pathlib import Path

import pytest

from bench.inputs import demo_reference
from tests.commands.survey.project import Project, make


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return demo_reference.make(tmp_path_factory.mktemp("reference"))


@pytest.fixture
def project(tmp_path: Path, reference: tuple[Path, Path, Path]) -> Project:
    return make(tmp_path / "project", reference)
