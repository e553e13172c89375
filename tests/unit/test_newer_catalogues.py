"""Jobs that name what the function at work has not read yet: the gateway that accepted them had a newer catalogue."""

from copy import replace

from tests.fakes.batch_road import RESOURCE, BatchRoad
from tests.fakes.token_house import TokenHouse
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.job import JobState


def test_a_token_job_is_passed_on_and_run_all_the_same() -> None:
    """Neither function gives it to SageMaker or fails it for a deployment that is only seconds old."""
    house = TokenHouse(limit="1")
    catalogues = house.gateway.catalogues
    job_id = house.accept()
    catalogues.held = replace(catalogues.catalogue, models={})
    house.submitter().submit(job_id)
    catalogues.held = replace(catalogues.catalogue, models={})
    house.runner().run(job_id)
    assert house.job(job_id).state is JobState.COMPLETED


def test_a_pool_of_a_new_deployment_is_not_failed() -> None:
    """Its jobs leave with the first transform job, whatever the dispatcher had read before."""
    road = BatchRoad()
    road.add_jobs(4)
    road.catalogues.held = replace(road.catalogues.catalogue, models={})
    road.dispatcher().wake(RESOURCE)
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.SUBMITTED}
    assert [run.state for run in road.batches.runs.values()] == [BatchState.RUNNING]
