"""Takes callers' feedback on answers, for the choice among sizes and variants to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tollgate.domain.choice.outcomes import marked_by, of_quality
from tollgate.domain.errors import InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from tollgate.domain.jobs.job import Owner
    from tollgate.ports.outcomes import FeedbackStore
    from tollgate.ports.registry import CatalogueSource

_LONGEST_ID = 64


@dataclass(frozen=True, slots=True)
class Judged:
    """Feedback that was taken.

    Attributes:
        recorded: False if the inference was judged before; the first judgement stands.
    """

    inference_id: str
    model: str
    deployment: str
    topic: str
    recorded: bool


class FeedbackService:
    """Finds out which deployment answered, and adds the score to its record."""

    def __init__(self, *, catalogues: CatalogueSource, feedback: FeedbackStore) -> None:
        self._catalogues = catalogues
        self._feedback = feedback

    def judge(self, owner: Owner, *, inference_id: str, model: str, score: float) -> Judged:
        """Take feedback.

        Args:
            owner: who judges; only answers that their own tenant was given.
            inference_id: in any of the forms that answers show: ``inf_...``, ``chatcmpl-...``.
            model: that was asked for.
            score: 0 (useless) to 1 (just what was wanted).

        Raises:
            UnknownModelError, InvalidRequestError: nothing is kept.
            NotFoundError: no such inference of this tenant with this model.
            StorageError
        """
        if not 0.0 <= score <= 1.0 or len(inference_id) > _LONGEST_ID:
            raise InvalidRequestError("'score' lies between 0 and 1.", param="score")
        found = self._catalogues.current().model(model)
        names = [deployment.name for deployment in found.deployments]
        plain = f"inf_{inference_id.replace('-', '_', 1).partition('_')[2]}"
        source = marked_by(plain, tenant=owner.tenant, deployments=names)
        if source is None:
            raise NotFoundError(
                f"There is no inference '{inference_id}' of model '{model}' that could be judged. Models without "
                "'choice' in the catalogue keep no records, for there is nothing to choose."
            )
        deployment, topic = source
        recorded = self._feedback.judge(
            model, deployment, topic, of_quality(score), tenant=owner.tenant, inference_id=plain
        )
        return Judged(plain, model, deployment, topic, recorded)
