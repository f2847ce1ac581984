"""The archive of Kafka's classes: made once of what a broker listed, or known not to be made."""

import os
from pathlib import Path

import pytest

from streams.local.classes import LISTED, archive_of, keep, mapping
from streams.local.folders import locked
from streams.local.java import Java

WRITES = 'for each in "$@"; do case $each in -XX:SharedArchiveFile=*) cat classes-chosen.lst >"${each#*=}";; esac; done'


def java_that(does: str, folder: Path) -> Java:
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho run >>'{folder}/runs'\n{does}\n")
    program.chmod(0o755)
    return Java(program, 25)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "a stack, ä"
    place.mkdir()
    (place / LISTED).write_text("java/lang/Object id: 0\njava/lang/String id: 1\njava/la")
    return place


def runs(folder: Path) -> int:
    return (folder / "runs").read_text().count("run") if (folder / "runs").exists() else 0


def kept(java: Java, folder: Path) -> Path:
    archive = archive_of(java, [folder.parent / "kafka.jar"])
    keep(archive, folder, [str(java.path), "-cp", "kafka.jar", "kafka.Kafka"], dict(os.environ))
    return archive


def test_it_is_made_of_the_whole_lines_and_used_from_then_on(folder: Path) -> None:
    java = java_that(WRITES, folder)
    assert mapping(archive_of(java, [folder.parent / "kafka.jar"])) == []
    archive = kept(java, folder)
    assert archive.read_text() == "java/lang/Object id: 0\njava/lang/String id: 1\n"
    assert mapping(archive) == [f"-XX:SharedArchiveFile={archive}"]
    assert [path.name for path in folder.iterdir() if "classes" in path.name] == []
    (folder / LISTED).write_text("another\n")
    assert kept(java, folder).read_text().startswith("java/lang")
    assert runs(folder) == 1


@pytest.mark.parametrize("does", ["exit 1", "exit 0", f"{WRITES}; exit 134"])
def test_a_java_that_can_not_make_it_does_without_and_is_not_asked_again(folder: Path, does: str) -> None:
    java = java_that(does, folder)
    archive = kept(java, folder)
    assert archive.exists()
    assert mapping(archive) == []
    kept(java, folder)
    assert runs(folder) == 1


def test_another_java_has_another(folder: Path) -> None:
    archive = archive_of(java_that("exit 1", folder), [folder / "kafka.jar"])
    assert archive_of(java_that("exit 11", folder), [folder / "kafka.jar"]) != archive


def test_who_comes_while_it_is_made_does_not_wait(folder: Path) -> None:
    java = java_that(WRITES, folder)
    archive = archive_of(java, [folder.parent / "kafka.jar"])
    with locked(archive.with_suffix(".lock"), lambda: None):
        kept(java, folder)
    assert not archive.exists()
    assert runs(folder) == 0


def test_a_cache_that_can_not_be_written_costs_time_only(folder: Path) -> None:
    java = java_that(WRITES, folder)
    keep(folder / "no such" / "classes.jsa", folder, [str(java.path)], dict(os.environ))
    assert runs(folder) == 0
