"""The one place where a run of a model is written down: that it began, and how it ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from local.sagemaker.models.base import ContainerError
from local.sagemaker.store import Store


@contextmanager
def counted(store: Store, endpoint: str, variant: str, road: str, inference_id: str, *, cut: str) -> Iterator[None]:
    """Count what is done inside as one inference.

    Args:
        store: has the list of inferences.
        endpoint: what runs.
        variant: of it, empty where there are none.
        road: that the request came by.
        inference_id: of the request.
        cut: the outcome where neither an answer nor the container's error is the end, such as `timeout`.
    """
    seq = store.begin_inference(time.time(), endpoint, variant, road, inference_id)
    outcome = cut
    try:
        yield
        outcome = "ok"
    except ContainerError as error:
        outcome = str(error.status)
        raise
    finally:
        store.end_inference(time.time(), seq, outcome)
