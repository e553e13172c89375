"""Batches of files that wait, expire or are cancelled keep what was done, and begin nothing more."""

from tests.fakes.files_road import FilesRoad, embedding_line, two_models
from tollgate.domain.jobs.file_batches import (
    COMPLETION_WINDOW,
    FileBatchStatus,
)


def test_a_batch_waits_while_spending_is_stopped() -> None:
    """Nothing is held for it or started; its file is checked all the same, and when the brake is off it runs whole."""
    road = FilesRoad(two_models(budget="100"))
    road.held_back.add("other/small")
    road.begin(embedding_line("a"), embedding_line("b", "xx", "other"))
    road.run()
    waiting = road.batch
    assert waiting.status is FileBatchStatus.VALIDATING
    assert waiting.cut
    assert road.backend.started == {}
    (counter,) = road.file_batches.ledger.counters.values()
    assert counter.spent == 0
    road.held_back.clear()
    road.run()
    assert road.batch.status is FileBatchStatus.COMPLETED
    assert (road.batch.completed, road.batch.failed) == (2, 0)


def test_a_batch_that_waits_longer_than_its_window_expires() -> None:
    """A stop that lasts too long ends it as any other delay does: every line says so, and nothing was spent."""
    road = FilesRoad(two_models(budget="100"))
    road.held_back.add("echo/small")
    road.begin(embedding_line("a"), embedding_line("b"))
    road.run()
    road.clock.advance(COMPLETION_WINDOW.total_seconds())
    road.run()
    assert road.batch.status is FileBatchStatus.EXPIRED
    assert {line["error"]["code"] for line in road.lines(road.batch.error_file_id)} == {"batch_expired"}
    assert road.backend.started == {}
    assert road.file_batches.ledger.counters == {}


def test_a_cancelled_batch_keeps_what_was_done() -> None:
    """The part that had ended is in the output file; the lines of the other are in the error file."""
    road = FilesRoad(two_models())
    road.begin(embedding_line("a"), embedding_line("b", model="other"))
    road.file_batch_runner().advance("batch_1")
    first, second = road.backend.started
    road.transform(first)
    road.collect(first)
    road.cancel()
    road.run()
    assert road.backend.stopped[0] == second
    assert road.batch.status is FileBatchStatus.CANCELLED
    assert [line["custom_id"] for line in road.lines(road.batch.output_file_id)] == ["a"]
    (undone,) = road.lines(road.batch.error_file_id)
    assert (undone["custom_id"], undone["error"]["code"], undone["response"]) == ("b", "batch_cancelled", None)


def test_a_batch_that_is_cancelled_before_it_began_starts_nothing() -> None:
    """Not even its file is read."""
    road = FilesRoad(two_models())
    road.begin(embedding_line("a"))
    road.cancel()
    road.run(rounds=1)
    assert road.batch.status is FileBatchStatus.CANCELLED
    assert not road.backend.started


def test_a_batch_expires_after_its_window() -> None:
    """The job is stopped, and every line says why it has no answer."""
    road = FilesRoad(two_models())
    road.begin(embedding_line("a"), embedding_line("b"))
    road.file_batch_runner().advance("batch_1")
    road.clock.advance(COMPLETION_WINDOW.total_seconds() + 1)
    road.file_batch_runner().advance("batch_1")
    road.run()
    assert road.batch.status is FileBatchStatus.EXPIRED
    assert {line["error"]["code"] for line in road.lines(road.batch.error_file_id)} == {"batch_expired"}
