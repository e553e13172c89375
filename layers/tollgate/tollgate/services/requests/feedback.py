"""Takes callers' feedback on answers, for the choice among sizes and variants to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tollgate.domain.choice.outcomes import marked_by, of_quality
from tollgate.domain.errors import InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from tollgate.domain.catalogue import Model
    from tollgate.domain.jobs.job import Owner
    from tollgate.ports.jobs import JobStore
    from tollgate.ports.outcomes import FeedbackStore
    from tollgate.ports.registry import CatalogueSource


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

    def __init__(self, *, catalogues: CatalogueSource, feedback: FeedbackStore, jobs: JobStore) -> None:
        self._catalogues = catalogues
        self._feedback = feedback
        self._jobs = jobs

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
        if not 0.0 <= score <= 1.0:
            raise InvalidRequestError("'score' lies between 0 and 1.", param="score")
        catalogue = self._catalogues.current()
        found = catalogue.model(model)
        names = [deployment.name for deployment in found.deployments]
        plain = f"inf_{inference_id.replace('-', '_', 1).partition('_')[2]}"
        source = marked_by(plain, tenant=owner.tenant, model=model, deployments=names, seal=catalogue.seal)
        if source is None:
            raise NotFoundError(
                f"There is no inference '{inference_id}' of model '{model}' that could be judged. Models without "
                "'choice' in the catalogue keep no records, for there is nothing to choose."
            )
        deployment, topic = self._answered_by(found, source[0], plain), source[1]
        recorded = self._feedback.judge(
            model, deployment, topic, of_quality(score), tenant=owner.tenant, inference_id=plain
        )
        return Judged(plain, model, deployment, topic, recorded)

    def _answered_by(self, model: Model, chosen: str, inference_id: str) -> str:
        """The deployment that answered: the one that was chosen, unless that has handed the job on."""
        deployment = model.deployment(chosen)
        if deployment is None or deployment.sleep is None or not deployment.sleep.hand_on_to:
            return chosen
        # Of the tenant and the model, for its id is marked with the tenant and with one of the model's deployments.
        job = self._jobs.get(inference_id)
        return chosen if job is None else job.deployment
