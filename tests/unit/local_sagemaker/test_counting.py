"""How a run of a model ends in the stand-in's list, however it ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.sagemaker.counting import counted
from local.sagemaker.models.base import ContainerError
from local.sagemaker.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "standin.sqlite3")
    yield store
    store.close()


@pytest.mark.parametrize(
    ("end", "outcome"),
    [(None, "ok"), (ContainerError(429, "slow"), "429"), (TimeoutError(), "cut"), (GeneratorExit(), "cut")],
)
def test_an_inference_ends_as_its_model_did(end: BaseException | None, outcome: str, store: Store) -> None:
    """Begun before it runs; an error goes on to whoever asked."""

    def run() -> None:
        with counted(store, "e", "v", "realtime", "i-1", cut="cut"):
            assert store.inference_counts() == {"e": {"started": 1}}
            if end is not None:
                raise end

    if end is None:
        run()
    else:
        with pytest.raises(type(end)):
            run()
    assert store.inference_counts() == {"e": {outcome: 1}}
    (row,) = store.inferences(10)
    assert (row["variant"], row["road"], row["inference_id"]) == ("v", "realtime", "i-1")
