"""A small answer that does not pass is asked for again, of the larger size: when, and at what cost."""

from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.choosing_gateway import BIG, LITTLE, ask, choosing_gateway, reason_of, served_by
from tests.fakes.gateway import FakeGateway, document
from tests.fakes.sizes import EASY, HARD, chat_answer, sized_catalogue
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.choice.outcomes import of_quality
from tollgate.domain.choice.policy import (
    CascadePolicy,
    ChoicePolicy,
    TierThresholds,
)
from tollgate.domain.errors import BackendThrottledError, BackendTimeoutError, CapacityError, ModelFailedError
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.health import HealthPolicy


class TestCascade:
    """A small answer that does not pass is asked for again, of the larger size."""

    POLICY = ChoicePolicy(cascade=CascadePolicy())

    @pytest.mark.parametrize(
        ("answer", "check"),
        [
            ("I'm sorry, but I can't help with that.", "refusal"),
            ("I don't know.", "refusal"),
            ("", "length"),
            ("I'm not sure, but it may be Lyon.", "uncertain"),
        ],
    )
    def test_a_bad_answer_is_escalated(self, answer: str, check: str) -> None:
        """The caller gets the second answer; both are paid for and both are on the record."""
        gateway = choosing_gateway(self.POLICY)
        answers = iter([chat_answer(answer), chat_answer("Paris.")])
        gateway.realtime.script = lambda: next(answers)
        got = ask(gateway)
        assert served_by(got) == BIG
        assert document(got)["output"]["text"] == "Paris."
        assert f"failed_check={check};escalated_to=large" in reason_of(got)
        escalation = document(got)["escalation"]
        assert (escalation["first_deployment"], escalation["failed_check"]) == (LITTLE, check)
        whole = Decimal(got.headers["x-tollgate-cost-usd"])
        assert Decimal(0) < Decimal(escalation["first_cost_usd"]) < whole
        line = next(line for line in gateway.lines if line.get("message") == "request")
        assert line["first_deployment"] == LITTLE
        assert Decimal(line["first_cost_usd"]) + Decimal("0.00001") < Decimal(line["effective_cost_usd"])
        assert gateway.outcomes.tallies["chat", "little", "question"].escalated == 1

    def test_what_a_larger_size_did_on_the_small_ones_failures_does_not_rule_it_out(self) -> None:
        """Checks and feedback on second answers are on record, but beside the others."""
        gateway = choosing_gateway(self.POLICY)
        for _ in range(60):
            gateway.outcomes.add("chat", "little", "numbers", of_quality(0.6))
        gateway.realtime.script = lambda: chat_answer("I don't know.")
        second = [document(ask(gateway, f"{n} {EASY}")) for n in range(40)]
        told = gateway.call("POST /v1/feedback", {"inference_id": second[0]["id"], "model": "chat", "score": 0})
        assert document(told)["topic"] == "escalated"
        assert gateway.outcomes.tallies["chat", "big", "escalated"].judged == 41
        assert ("chat", "big", "question") not in gateway.outcomes.tallies
        gateway.realtime.script = None
        assert served_by(ask(gateway, HARD, cascade=False)) == BIG

    def test_a_larger_size_that_is_known_to_be_no_better_is_not_asked(self) -> None:
        """It costs more, and its records say that it would not help."""
        gateway = choosing_gateway(self.POLICY)
        for deployment, quality in (("little", 0.7), ("big", 0.6)):
            for _ in range(40):
                gateway.outcomes.add("chat", deployment, "question", of_quality(quality))
        gateway.realtime.script = lambda: chat_answer("I don't know.")
        assert served_by(ask(gateway)) == LITTLE
        assert len(gateway.realtime.calls) == 1

    def test_the_gateways_own_parts_are_paid_once(self) -> None:
        """One API call and one run of the function, however many models were asked."""
        gateway = choosing_gateway(self.POLICY)
        answers = iter([chat_answer("I don't know."), chat_answer("Paris.")])
        gateway.realtime.script = lambda: next(answers)
        whole = Decimal(ask(gateway).headers["x-tollgate-cost-usd"])
        takes, hour = Decimal(str(gateway.realtime.takes)), Decimal(3600)
        instances = takes * (Decimal("0.4") + Decimal("3.2")) / hour
        prices = gateway.catalogue.gateway_prices
        assert prices.api_request < whole - instances < 2 * prices.api_request

    def test_a_good_answer_is_kept(self) -> None:
        """One call, and a good mark for the small size."""
        gateway = choosing_gateway(self.POLICY)
        assert served_by(ask(gateway)) == LITTLE
        assert len(gateway.realtime.calls) == 1
        assert gateway.outcomes.tallies["chat", "little", "question"].mean_quality == 1

    def test_a_schema_is_checked(self) -> None:
        """An answer that is no JSON of the asked form is not good enough."""
        gateway = choosing_gateway(self.POLICY)
        answers = iter([chat_answer('{"city": 7}'), chat_answer('{"city": "Paris"}')])
        gateway.realtime.script = lambda: next(answers)
        schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        wanted = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}}
        got = ask(gateway, parameters={"response_format": wanted})
        assert "failed_check=schema" in reason_of(got)
        assert document(got)["output"]["text"] == '{"city": "Paris"}'

    def test_low_probabilities_are_not_good_enough(self) -> None:
        """Where the container gives them."""
        gateway = choosing_gateway(self.POLICY)
        unsure = chat_answer("Lyon.", logprobs={"content": [{"logprob": -3.0}, {"logprob": -2.0}]})
        answers = iter([unsure, chat_answer("Paris.")])
        gateway.realtime.script = lambda: next(answers)
        assert "failed_check=logprob" in reason_of(ask(gateway))

    def test_the_callers_own_rule(self) -> None:
        """It switches the cascade on where the owner has none."""
        gateway = choosing_gateway()
        answers = iter([chat_answer("It is Lyon, I think."), chat_answer("SOURCE: atlas. Paris.")])
        gateway.realtime.script = lambda: next(answers)
        got = ask(gateway, cascade={"must_contain": ["SOURCE:"]})
        assert "failed_check=rule" in reason_of(got)

    def test_the_caller_may_switch_it_off(self) -> None:
        """Then a refusal is the answer."""
        gateway = choosing_gateway(self.POLICY)
        gateway.realtime.answer = chat_answer("I don't know.")
        assert served_by(ask(gateway, cascade=False)) == LITTLE
        assert len(gateway.realtime.calls) == 1

    def test_a_failed_second_call_leaves_the_first_answer(self) -> None:
        """It is paid for and better than none."""
        gateway = choosing_gateway(self.POLICY)
        steps: list[Any] = [chat_answer("I don't know."), CapacityError("none", retry_after=1)]
        gateway.realtime.script = lambda: steps.pop(0)
        got = ask(gateway)
        assert served_by(got) == LITTLE
        assert document(got)["output"]["text"] == "I don't know."
        assert "not_escalated=CapacityError" in reason_of(got)
        assert "escalation" not in document(got)

    @pytest.mark.parametrize(
        ("second", "variant"),
        [(chat_answer("Paris."), "big-blue"), (CapacityError("none", retry_after=1), "little-blue")],
    )
    def test_the_record_names_the_variant_that_answered(self, second: Any, variant: str) -> None:
        """Usage is grouped by it, so it is one of the deployment beside it."""
        catalogue = sized_catalogue(self.POLICY)
        model = catalogue.models["chat"]
        deployments = tuple(
            replace(d, roads={t: replace(road, target_variant=f"{d.name}-blue") for t, road in d.roads.items()})
            for d in model.deployments
        )
        models = {**catalogue.models, "chat": replace(model, deployments=deployments)}
        gateway = FakeGateway(catalogue=replace(catalogue, models=models))
        steps: list[Any] = [chat_answer("I don't know."), second]
        gateway.realtime.script = lambda: steps.pop(0)
        got = ask(gateway)
        line = next(line for line in gateway.lines if line.get("message") == "request")
        assert line["variant"] == variant
        assert served_by(got) == f"chat/{variant.removesuffix('-blue')}"

    def test_a_second_call_needs_time(self) -> None:
        """An answer just before the function's limit is better than none after it."""
        gateway = choosing_gateway(self.POLICY)
        gateway.realtime.takes = gateway.time_limit_seconds - 0.1
        gateway.realtime.answer = chat_answer("I don't know.")
        assert "not_escalated=BackendTimeoutError" in reason_of(ask(gateway))
        assert len(gateway.realtime.calls) == 1

    def test_an_answer_that_stands_is_paid_once(self) -> None:
        """Where no second call was made, it costs what it costs without a cascade."""
        gateway = choosing_gateway(self.POLICY)
        gateway.realtime.answer = chat_answer("I don't know.")
        asleep = RoadCapacity(state=RoadState.ASLEEP)
        gateway.capacity.capacity = Capacity({(BIG, InferenceType.REALTIME): asleep})
        costs = {ask(gateway, cascade=cascade).headers["x-tollgate-cost-usd"] for cascade in (True, False)}
        assert len(costs) == 1

    def test_a_large_size_that_sleeps_is_not_waited_for(self) -> None:
        """The first answer stands, and nothing becomes a job."""
        gateway = choosing_gateway(self.POLICY)
        asleep = RoadCapacity(state=RoadState.ASLEEP)
        gateway.capacity.capacity = Capacity({(BIG, InferenceType.REALTIME): asleep})
        gateway.realtime.answer = chat_answer("I don't know.")
        assert "not_escalated=CapacityError" in reason_of(ask(gateway))
        assert (len(gateway.realtime.calls), gateway.jobs.jobs) == (1, {})

    def test_a_small_size_that_sleeps_is_not_tried_first(self) -> None:
        """The large one answers at once."""
        gateway = choosing_gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy()))
        asleep = RoadCapacity(state=RoadState.ASLEEP)
        gateway.capacity.capacity = Capacity({(LITTLE, InferenceType.REALTIME): asleep})
        assert served_by(ask(gateway)) == BIG

    def test_a_second_call_that_breaks_is_paid_for(self) -> None:
        """The container worked for it."""
        gateway = choosing_gateway(self.POLICY)
        steps: list[Any] = [chat_answer("I don't know."), ModelFailedError("boom", original_status=500)]
        gateway.realtime.script = lambda: steps.pop(0)
        broken = Decimal(ask(gateway).headers["x-tollgate-cost-usd"])
        gateway.realtime.script = None
        gateway.realtime.answer = chat_answer("Paris.")
        assert broken > Decimal(ask(gateway).headers["x-tollgate-cost-usd"]) * 2

    @pytest.mark.parametrize("second", [chat_answer("Paris."), ModelFailedError("boom", original_status=500)])
    def test_the_first_call_is_paid_for_whatever_becomes_of_the_second(self, second: Any) -> None:
        """The longer it took, the more."""
        costs = []
        for seconds in (0.0, 5.0):
            gateway = choosing_gateway(self.POLICY)
            steps: list[Any] = [chat_answer("I don't know."), second]

            def script(gateway: FakeGateway = gateway, steps: list[Any] = steps, seconds: float = seconds) -> Any:
                gateway.clock.advance(seconds if len(steps) == 2 else 0.0)
                return steps.pop(0)

            gateway.realtime.script = script
            costs.append(Decimal(ask(gateway).headers["x-tollgate-cost-usd"]))
        assert costs[1] > costs[0]

    def test_small_is_asked_first_where_that_is_expected_to_be_cheaper(self) -> None:
        """A large choice is tried on the small size first: an eighth of the price for a fair chance."""
        gateway = choosing_gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy()))
        got = ask(gateway)
        assert served_by(got) == LITTLE
        assert "cascade=from_small" in reason_of(got)
        for _ in range(200):
            gateway.outcomes.add("chat", "little", "question", of_quality(0.0))
        assert served_by(ask(gateway)) == BIG

    @pytest.mark.parametrize(
        "failure",
        [
            CapacityError("none", retry_after=1),
            BackendThrottledError("busy"),
            ModelFailedError("boom", original_status=500),
        ],
    )
    def test_the_chosen_size_answers_where_the_one_before_it_cannot(self, failure: Exception) -> None:
        """It was to be spared, not to be given up; what the first call cost is part of the cost."""
        gateway = choosing_gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy()))
        steps: list[Any] = [failure, chat_answer("Paris.")]
        gateway.realtime.script = lambda: steps.pop(0)
        got = ask(gateway)
        assert served_by(got) == BIG
        assert reason_of(got).endswith(f"cascade=from_small;first_failed={type(failure).__name__}")
        assert gateway.jobs.jobs == {}
        alone = ask(choosing_gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0))))
        more = Decimal(got.headers["x-tollgate-cost-usd"]) / Decimal(alone.headers["x-tollgate-cost-usd"])
        assert (more > Decimal("1.1")) is isinstance(failure, ModelFailedError)
        assert more > 1, "the gateway's own time"

    def test_a_job_is_for_the_chosen_size(self) -> None:
        """Where neither can answer now: a job is answered once."""
        gateway = choosing_gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy()))
        gateway.realtime.answer = CapacityError("none", retry_after=1)
        answer = gateway.infer({"model": "chat", "input": EASY, "priority": "high"})
        assert (answer.status, served_by(answer)) == (202, BIG)
        [job] = gateway.jobs.jobs.values()
        assert (job.deployment, job.estimated_cost) == ("big", Decimal(document(answer)["cost"]["estimated_cost_usd"]))
        big = gateway.infer({"model": "chat", "input": EASY, "priority": "medium"})
        assert document(big)["cost"]["estimated_cost_usd"] == document(answer)["cost"]["estimated_cost_usd"]

    @pytest.mark.parametrize("state", [RoadState.BROKEN, RoadState.ASLEEP])
    def test_a_chosen_size_that_went_down_meanwhile_gets_the_job(self, state: RoadState) -> None:
        """It could answer when it was chosen; its other road still can."""
        gateway = choosing_gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy()))

        def script() -> bytes:
            down = RoadCapacity(state=state)
            gateway.capacity.capacity = Capacity({(BIG, InferenceType.REALTIME): down})
            raise CapacityError("none", retry_after=1)

        gateway.realtime.script = script
        answer = gateway.infer({"model": "chat", "input": EASY, "priority": "high"})
        assert (answer.status, served_by(answer)) == (202, BIG)
        [job] = gateway.jobs.jobs.values()
        assert (job.deployment, job.inference_type) == ("big", InferenceType.ASYNC)

    def test_a_chosen_size_without_a_road_for_jobs_leaves_it_to_the_other(self) -> None:
        """A job of the smaller size is better than none."""
        catalogue = sized_catalogue(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy()))
        model = catalogue.models["chat"]
        little, big = model.deployments
        at_once = replace(big, roads={InferenceType.REALTIME: big.roads[InferenceType.REALTIME]})
        models = {**catalogue.models, "chat": replace(model, deployments=(little, at_once))}
        gateway = FakeGateway(catalogue=replace(catalogue, models=models))
        gateway.realtime.answer = CapacityError("none", retry_after=1)
        answer = gateway.infer({"model": "chat", "input": EASY, "priority": "high"})
        assert (answer.status, served_by(answer)) == (202, LITTLE)
        [job] = gateway.jobs.jobs.values()
        assert (job.deployment, job.inference_type) == ("little", InferenceType.ASYNC)

    def test_a_chosen_size_that_has_just_failed_is_no_fallback(self) -> None:
        """It would be paid for once more."""
        choice = ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy())
        gateway = choosing_gateway(choice, health=HealthPolicy(fallback=("big",)))
        gateway.realtime.answer = ModelFailedError("boom", original_status=500)
        answer = gateway.infer({"model": "chat", "input": EASY, "priority": "high"})
        assert (answer.status, len(gateway.realtime.calls)) == (502, 2)
        assert reason_of(answer).endswith("first_failed=ModelFailedError")

    def test_a_first_call_that_may_have_been_the_callers_fault_is_the_last(self) -> None:
        """And one that was answered too late."""
        for failure, status in (
            (ModelFailedError("bad", original_status=400), 400),
            (BackendTimeoutError("late"), 504),
        ):
            gateway = choosing_gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy()))
            gateway.realtime.answer = failure
            answer = gateway.infer({"model": "chat", "input": EASY, "priority": "high"})
            assert (answer.status, len(gateway.realtime.calls)) == (status, 1)

    def test_the_best_is_never_tried_small_first(self) -> None:
        """A dial of 1 means the large size."""
        gateway = choosing_gateway(ChoicePolicy(cascade=CascadePolicy()))
        assert served_by(ask(gateway, quality=1)) == BIG

    def test_jobs_do_not_cascade(self) -> None:
        """Nobody looks at their answers here."""
        gateway = choosing_gateway(self.POLICY)
        answer = gateway.infer({"model": "chat", "input": EASY, "priority": "low"})
        assert answer.status == 202


@pytest.mark.parametrize(
    ("cascade", "param", "said"),
    [
        ({"checks": ["nope"]}, "cascade.checks.0", "'schema'"),
        ({"must_contain": "day"}, "cascade.must_contain", "list"),
        ({"other": 1}, "cascade.other", "Unknown field"),
        ("yes", "cascade", "true, false or an object"),
        ({"checks": ["refusal"], "must_contain": ["day"]}, "cascade", "'must_contain' is read by the check 'rule'"),
        ({"checks": ["rule"], "min_characters": 5}, "cascade", "which 'checks' leaves out"),
    ],
)
def test_a_wrong_cascade_is_refused_for_what_is_wrong_with_it(cascade: Any, param: str, said: str) -> None:
    """Not for being no boolean, which an object never is."""
    answer = FakeGateway().infer({"model": "echo", "input": "hi", "cascade": cascade})
    error = document(answer)["error"]
    assert (answer.status, error["param"]) == (400, param)
    assert said in error["message"]
