"""Uploads whose steps come twice, at once, out of order or never: one file at most, and it never changes."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.clock import CountingIds, ManualClock
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import OWNER
from tests.fakes.files import InMemoryFileStore
from tests.fakes.messages import InMemoryObjectStore
from tollgate.api.problems import problem_answer
from tollgate.domain.errors import BodyTooLargeError, BusyError, ConflictError, TollgateError
from tollgate.domain.jobs.file_batches import FileState
from tollgate.services.batches.files import Files, NewFile
from tollgate.services.batches.uploads import Uploads

FIRST, SECOND = b"first", b"other"


class _Objects(InMemoryObjectStore):
    """A bucket in which something else happens while a file is put together."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.meanwhile: Callable[[], None] = lambda: None

    def put_chunks(self, key: str, chunks: Iterable[bytes], *, content_type: str = "application/octet-stream") -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        super().put_chunks(key, chunks, content_type=content_type)

    def copy(self, source: str, key: str) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        super().copy(source, key)


class _House:
    def __init__(self, size: int = 10, crash: CrashPoint | None = None) -> None:
        self.clock = ManualClock()
        self.objects = _Objects(self.clock)
        self.store = InMemoryFileStore()
        store, objects = self.store, self.objects
        if crash is not None:
            store, objects = crash.watch(store, "add", "change"), crash.watch(objects, "put_chunks", "delete")
        ids = CountingIds()
        self.files = Files(files=store, objects=objects, clock=self.clock, ids=ids, kept=timedelta(days=30))
        self.uploads = Uploads(
            store=store, files=self.files, objects=objects, chunked=lambda: objects, clock=self.clock, ids=ids
        )
        self.upload = self.uploads.begin(OWNER, NewFile("a", "batch"), size)[0].file_id

    def part(self, content: bytes) -> str:
        return self.uploads.add_part(OWNER, self.upload, content).part_id

    def complete(self, *parts: str) -> str:
        return self.uploads.complete(OWNER, self.upload, parts)[1].file_id

    def content(self, file_id: str) -> str | None:
        return self.files.content(OWNER, file_id).text


@pytest.mark.parametrize("whole", [False, True], ids=["of parts", "of one object"])
def test_while_one_call_completes_no_other_does_anything(whole: bool) -> None:
    """A second one would write over what the first one's caller may already use; each is told when to ask again."""
    house = _House()
    parts = [house.part(FIRST), house.part(SECOND)]
    house.objects.put(f"uploads/{house.upload}/whole", FIRST + SECOND)
    refused: list[TollgateError] = []

    def others() -> None:
        for other in (
            lambda: house.complete(*reversed(parts)),
            lambda: house.uploads.cancel(OWNER, house.upload),
            lambda: house.part(b"late"),
        ):
            with pytest.raises(BusyError) as caught:
                other()
            refused.append(caught.value)

    house.objects.meanwhile = others
    file = house.complete(*(() if whole else parts))
    assert house.content(file) == "firstother"
    assert len(refused) == 3
    for error in refused:
        answer = problem_answer(error)
        assert (answer.status, answer.headers) == (409, {"Retry-After": "35"})
    assert house.complete(*reversed(parts)) == file
    assert house.content(file) == "firstother"


def test_what_was_wrong_can_be_mended_at_once() -> None:
    """A call that fails gives the upload free."""
    house = _House()
    parts = [house.part(FIRST), house.part(SECOND)]
    with pytest.raises(TollgateError, match="5 bytes were uploaded"):
        house.complete(parts[0])
    assert house.content(house.complete(*parts)) == "firstother"


@pytest.mark.parametrize("after", range(1, 7))
def test_a_call_that_died_leaves_nothing_behind(after: int) -> None:
    """Whatever it had done: when its time is over another call completes the upload, to the same file."""
    crash = CrashPoint(0)
    house = _House(crash=crash)
    parts = [house.part(FIRST), house.part(SECOND)]
    crash._left = after
    with pytest.raises(CrashError):
        house.complete(*parts)
    house.clock.advance(36)
    file = house.complete(*parts)
    assert house.content(file) == "firstother"
    assert [entry.file_id for entry in house.store.files.values() if not entry.upload_id] == [file]
    assert house.uploads.get(OWNER, house.upload).state is FileState.READY


def test_a_deleted_file_does_not_come_back() -> None:
    """Completing again is a repetition, not a new file; and there is nothing left to call off."""
    house = _House()
    parts = [house.part(FIRST), house.part(SECOND)]
    house.files.delete(OWNER, house.complete(*parts))
    for again in (lambda: house.complete(*parts), lambda: house.uploads.cancel(OWNER, house.upload)):
        with pytest.raises(ConflictError):
            again()
    assert not house.objects.objects


def test_parts_are_limited_as_they_come() -> None:
    """To four times what was announced, for parts may be sent again; also where completing failed in between."""
    house = _House()
    parts = [house.part(FIRST) for _ in range(7)]
    with pytest.raises(TollgateError):
        house.complete(parts[0])
    parts.append(house.part(SECOND))
    with pytest.raises(BodyTooLargeError, match="counting parts sent again"):
        house.part(b"x")
    assert sum(map(len, house.objects.objects.values())) == 40
    assert house.content(house.complete(parts[0], parts[-1])) == "firstother"


def test_the_number_of_parts_is_limited_too() -> None:
    """A byte at a time."""
    house = _House(size=5_000)
    for _ in range(800):
        house.part(b"x")
    with pytest.raises(BodyTooLargeError, match="800 parts"):
        house.part(b"x")


_STEPS = st.lists(
    st.tuples(st.sampled_from(["part", "complete", "cancel", "delete", "wait", "put"]), st.integers(0, 5)), max_size=14
)


class _Steps:
    """Steps on one upload, with others in the midst of each completion."""

    def __init__(self, meanwhile: list[tuple[str, int]]) -> None:
        self.house = _House()
        self._meanwhile = meanwhile
        self._parts: list[str] = []
        self.seen: dict[str, str | None] = {}
        self.ended: set[FileState] = set()
        self.statuses: set[int] = set()

    def take(self, steps: list[tuple[str, int]]) -> None:
        for name, number in steps:
            self.house.objects.meanwhile = lambda: self.take(self._meanwhile)
            try:
                getattr(self, name)(number)
            except TollgateError as error:
                self.statuses.add(problem_answer(error).status)
            self.ended.add(self.house.store.files[self.house.upload].state)

    def part(self, number: int) -> None:
        self._parts.append(self.house.part((FIRST, SECOND, b"x")[number % 3]))

    def put(self, number: int) -> None:
        whole = (FIRST + SECOND, SECOND + FIRST)[number % 2]
        self.house.objects.put(f"uploads/{self.house.upload}/whole", whole)

    def complete(self, number: int) -> None:
        some = [self._parts[(number + place) % len(self._parts)] for place in range(2)] if self._parts else []
        file = self.house.complete(*(some if number else ()))
        self.seen.setdefault(file, self.house.content(file))

    def cancel(self, _: int) -> None:
        self.house.uploads.cancel(OWNER, self.house.upload)

    def delete(self, _: int) -> None:
        for file in self.seen:
            self.house.files.delete(OWNER, file)

    def wait(self, number: int) -> None:
        self.house.clock.advance(20 * number)


@given(steps=_STEPS, meanwhile=_STEPS.map(lambda steps: [step for step in steps if step[0] not in {"wait", "put"}]))
def test_in_any_order_there_is_one_file_that_never_changes(
    steps: list[tuple[str, int]], meanwhile: list[tuple[str, int]]
) -> None:
    """An upload ends in one way only, its file has one content for ever, and every refusal is one of ours."""
    world = _Steps(meanwhile)
    world.take(steps)
    assert len(world.ended - {FileState.PENDING}) <= 1
    assert len(world.seen) <= 1
    assert world.statuses <= {400, 404, 409, 413}
    for file, content in world.seen.items():
        if file in world.house.store.files:
            assert world.house.content(file) == content
