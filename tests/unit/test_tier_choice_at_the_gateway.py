"""The choice among sizes as a caller meets it: which deployment answers, why, and what both answers cost."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document
from tests.fakes.sizes import EASY, HARD, chat_answer, sized_catalogue
from tollgate.api.http import Answer
from tollgate.domain.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.choice_policy import (
    CascadePolicy,
    ChoicePolicy,
    DeploymentRole,
    ExtraSpend,
    TierThresholds,
)
from tollgate.domain.errors import CapacityError, ModelFailedError
from tollgate.domain.outcomes import of_quality, total
from tollgate.ports.outcomes import Extra

LITTLE, BIG = "chat/little", "chat/big"


def _gateway(choice: ChoicePolicy | None = ChoicePolicy(), **changes: Any) -> FakeGateway:  # noqa: B008 -- frozen
    gateway = FakeGateway(catalogue=sized_catalogue(choice, **changes))
    gateway.realtime.answer = chat_answer("Paris is the capital of France.")
    return gateway


def _ask(gateway: FakeGateway, text: str = EASY, **wishes: Any) -> Answer:
    answer = gateway.infer({"model": "chat", "input": text, "priority": "high", **wishes})
    assert answer.status == 200, answer.body
    return answer


def _by(answer: Answer) -> str:
    return answer.headers["x-tollgate-deployment"]


def _reason(answer: Answer) -> str:
    return answer.headers["x-tollgate-route-reason"]


def test_easy_prompts_go_small_and_hard_ones_large() -> None:
    """With the default thresholds, and the reason says why."""
    gateway = _gateway()
    easy, hard = _ask(gateway), _ask(gateway, HARD)
    assert (_by(easy), _by(hard)) == (LITTLE, BIG)
    assert "tier=small;complexity=0." in _reason(easy)
    assert "tier=large;complexity=" in _reason(hard)
    assert document(hard)["choice"]["complexity"] > document(easy)["choice"]["complexity"]


def test_without_a_choice_weights_decide_as_before() -> None:
    """A model whose catalogue entry says nothing about choosing is served by weight."""
    gateway = _gateway(None)
    served = {
        _by(gateway.infer({"model": "chat", "input": EASY, "priority": "high"}, request_id=f"r{n}")) for n in range(20)
    }
    assert served == {LITTLE, BIG}
    assert gateway.outcomes.tallies == {}


def test_thresholds_of_the_model_decide() -> None:
    """An owner may keep nearly everything small, or send everything to the large size."""
    assert _by(_ask(_gateway(ChoicePolicy(thresholds=TierThresholds(1.0, 1.0))), HARD)) == LITTLE
    assert _by(_ask(_gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0))), EASY)) == BIG


def test_the_dial_of_the_request_comes_before_the_models() -> None:
    """1 buys the best, 0 the cheapest, whatever the prompt."""
    gateway = _gateway(ChoicePolicy(quality=0.5))
    best = _ask(gateway, EASY, quality=1)
    assert _by(best) == BIG
    assert "quality=1" in _reason(best)
    assert _by(_ask(gateway, HARD, quality=0)) == LITTLE


def test_the_dial_works_without_the_owner() -> None:
    """A caller may ask for it where the catalogue has two sizes and says nothing."""
    assert _by(_ask(_gateway(None), EASY, quality=0)) == LITTLE


def test_a_dial_out_of_range_is_refused() -> None:
    """Naming the field."""
    answer = _gateway().infer({"model": "chat", "input": EASY, "quality": 1.5})
    assert answer.status == 400
    assert document(answer)["error"]["param"] == "quality"


def test_a_dearer_size_with_no_better_records_is_never_taken() -> None:
    """Thirty outcomes each are enough to know."""
    gateway = _gateway()
    for _ in range(30):
        gateway.outcomes.add("chat", "little", "numbers", of_quality(0.9))
        gateway.outcomes.add("chat", "big", "numbers", of_quality(0.8))
    answer = _ask(gateway, HARD)
    assert _by(answer) == LITTLE
    assert "ruled_out=large" in _reason(answer)


def test_a_conversation_does_not_go_back_to_a_smaller_size() -> None:
    """Even in an environment that has not seen its earlier turns; without stickiness it does."""
    talk = [
        {"role": "user", "content": HARD},
        {"role": "assistant", "content": "It is $1,204.50."},
        {"role": "user", "content": "Thank you! What is the capital of Italy?"},
        {"role": "assistant", "content": "Rome."},
        {"role": "user", "content": EASY},
    ]
    answer = _gateway().infer({"model": "chat", "input": talk, "priority": "high"})
    assert _by(answer) == BIG
    assert "sticky" in _reason(answer)
    loose = _gateway(ChoicePolicy(sticky=False)).infer({"model": "chat", "input": talk, "priority": "high"})
    assert _by(loose) == LITTLE


def test_a_conversation_id_is_remembered() -> None:
    """For clients that send only their last message."""
    gateway = _gateway()
    _ask(gateway, HARD, conversation_id="c1")
    assert _by(_ask(gateway, EASY, conversation_id="c1")) == BIG
    assert _by(_ask(gateway, EASY, conversation_id="c2")) == LITTLE


def test_openai_routes_choose_too() -> None:
    """With the dial among the body's fields; it does not reach the container."""
    gateway = _gateway()
    body = {"model": "chat", "messages": [{"role": "user", "content": HARD}], "service_tier": "priority"}
    assert _by(gateway.call("POST /v1/chat/completions", body)) == BIG
    assert _by(gateway.call("POST /v1/chat/completions", {**body, "quality": 0})) == LITTLE
    assert b"quality" not in gateway.realtime.calls[-1][1]


def test_a_preview_says_what_would_be_chosen() -> None:
    """Every size with its cost, and nothing is run."""
    gateway = _gateway()
    answer = gateway.call("POST /v1/route", {"model": "chat", "input": EASY, "priority": "high"})
    shown = document(answer)
    assert shown["deployment"] == LITTLE
    assert "tier=small" in shown["reason"]
    costs = [Decimal(option["estimated_cost_usd"]) for option in shown["choice"]["options"]]
    assert costs == sorted(costs)
    assert gateway.realtime.calls == []


def test_later_roads_choose_too() -> None:
    """The job goes to the chosen deployment, and its id can be judged."""
    gateway = _gateway()
    answer = gateway.infer({"model": "chat", "input": HARD, "priority": "medium"})
    assert answer.status == 202
    job = gateway.jobs.get(document(answer)["id"])
    assert job is not None
    assert job.deployment == "big"
    judged = gateway.call("POST /v1/feedback", {"inference_id": job.job_id, "model": "chat", "score": 1})
    assert document(judged)["deployment"] == BIG


def test_a_size_that_is_down_leaves_the_other() -> None:
    """A broken small deployment does not stop the model."""
    catalogue = sized_catalogue()
    model = catalogue.models["chat"]
    little = replace(model.deployments[0], weight=0)
    models = {**catalogue.models, "chat": replace(model, deployments=(little, model.deployments[1]))}
    gateway = FakeGateway(catalogue=replace(catalogue, models=models))
    gateway.realtime.answer = chat_answer("Paris.")
    assert _by(_ask(gateway)) == BIG


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
        gateway = _gateway(self.POLICY)
        answers = iter([chat_answer(answer), chat_answer("Paris.")])
        gateway.realtime.script = lambda: next(answers)
        got = _ask(gateway)
        assert _by(got) == BIG
        assert document(got)["output"]["text"] == "Paris."
        assert f"failed_check={check};escalated_to=large" in _reason(got)
        escalation = document(got)["escalation"]
        assert (escalation["first_deployment"], escalation["failed_check"]) == (LITTLE, check)
        whole = Decimal(got.headers["x-tollgate-cost-usd"])
        assert Decimal(0) < Decimal(escalation["first_cost_usd"]) < whole
        line = next(line for line in gateway.lines if line.get("message") == "request")
        assert line["first_deployment"] == LITTLE
        assert Decimal(line["first_cost_usd"]) + Decimal("0.00001") < Decimal(line["effective_cost_usd"])
        assert gateway.outcomes.tallies["chat", "little", "question"].escalated == 1

    def test_the_gateways_own_parts_are_paid_once(self) -> None:
        """One API call and one run of the function, however many models were asked."""
        gateway = _gateway(self.POLICY)
        answers = iter([chat_answer("I don't know."), chat_answer("Paris.")])
        gateway.realtime.script = lambda: next(answers)
        whole = Decimal(_ask(gateway).headers["x-tollgate-cost-usd"])
        takes, hour = Decimal(str(gateway.realtime.takes)), Decimal(3600)
        instances = takes * (Decimal("0.4") + Decimal("3.2")) / hour
        prices = gateway.catalogue.gateway_prices
        assert prices.api_request < whole - instances < 2 * prices.api_request

    def test_a_good_answer_is_kept(self) -> None:
        """One call, and a good mark for the small size."""
        gateway = _gateway(self.POLICY)
        assert _by(_ask(gateway)) == LITTLE
        assert len(gateway.realtime.calls) == 1
        assert gateway.outcomes.tallies["chat", "little", "question"].mean_quality == 1

    def test_a_schema_is_checked(self) -> None:
        """An answer that is no JSON of the asked form is not good enough."""
        gateway = _gateway(self.POLICY)
        answers = iter([chat_answer('{"city": 7}'), chat_answer('{"city": "Paris"}')])
        gateway.realtime.script = lambda: next(answers)
        schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        wanted = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}}
        got = _ask(gateway, parameters={"response_format": wanted})
        assert "failed_check=schema" in _reason(got)
        assert document(got)["output"]["text"] == '{"city": "Paris"}'

    def test_low_probabilities_are_not_good_enough(self) -> None:
        """Where the container gives them."""
        gateway = _gateway(self.POLICY)
        unsure = chat_answer("Lyon.", logprobs={"content": [{"logprob": -3.0}, {"logprob": -2.0}]})
        answers = iter([unsure, chat_answer("Paris.")])
        gateway.realtime.script = lambda: next(answers)
        assert "failed_check=logprob" in _reason(_ask(gateway))

    def test_the_callers_own_rule(self) -> None:
        """It switches the cascade on where the owner has none."""
        gateway = _gateway()
        answers = iter([chat_answer("It is Lyon, I think."), chat_answer("SOURCE: atlas. Paris.")])
        gateway.realtime.script = lambda: next(answers)
        got = _ask(gateway, cascade={"must_contain": ["SOURCE:"]})
        assert "failed_check=rule" in _reason(got)

    def test_the_caller_may_switch_it_off(self) -> None:
        """Then a refusal is the answer."""
        gateway = _gateway(self.POLICY)
        gateway.realtime.answer = chat_answer("I don't know.")
        assert _by(_ask(gateway, cascade=False)) == LITTLE
        assert len(gateway.realtime.calls) == 1

    def test_a_failed_second_call_leaves_the_first_answer(self) -> None:
        """It is paid for and better than none."""
        gateway = _gateway(self.POLICY)
        steps: list[Any] = [chat_answer("I don't know."), CapacityError("none", retry_after=1)]
        gateway.realtime.script = lambda: steps.pop(0)
        got = _ask(gateway)
        assert _by(got) == LITTLE
        assert document(got)["output"]["text"] == "I don't know."
        assert "not_escalated=CapacityError" in _reason(got)
        assert "escalation" not in document(got)

    def test_a_large_size_that_sleeps_is_not_waited_for(self) -> None:
        """The first answer stands, and nothing becomes a job."""
        gateway = _gateway(self.POLICY)
        asleep = RoadCapacity(state=RoadState.ASLEEP)
        gateway.capacity.capacity = Capacity({(BIG, InferenceType.REALTIME): asleep})
        gateway.realtime.answer = chat_answer("I don't know.")
        assert "not_escalated=CapacityError" in _reason(_ask(gateway))
        assert (len(gateway.realtime.calls), gateway.jobs.jobs) == (1, {})

    def test_a_small_size_that_sleeps_is_not_tried_first(self) -> None:
        """The large one answers at once."""
        gateway = _gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy()))
        asleep = RoadCapacity(state=RoadState.ASLEEP)
        gateway.capacity.capacity = Capacity({(LITTLE, InferenceType.REALTIME): asleep})
        assert _by(_ask(gateway)) == BIG

    def test_a_second_call_that_breaks_is_paid_for(self) -> None:
        """The container worked for it."""
        gateway = _gateway(self.POLICY)
        steps: list[Any] = [chat_answer("I don't know."), ModelFailedError("boom", original_status=500)]
        gateway.realtime.script = lambda: steps.pop(0)
        broken = Decimal(_ask(gateway).headers["x-tollgate-cost-usd"])
        gateway.realtime.script = None
        gateway.realtime.answer = chat_answer("Paris.")
        assert broken > Decimal(_ask(gateway).headers["x-tollgate-cost-usd"]) * 2

    def test_small_is_asked_first_where_that_is_expected_to_be_cheaper(self) -> None:
        """A large choice is tried on the small size first: an eighth of the price for a fair chance."""
        gateway = _gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0), cascade=CascadePolicy()))
        got = _ask(gateway)
        assert _by(got) == LITTLE
        assert "cascade=from_small" in _reason(got)
        for _ in range(200):
            gateway.outcomes.add("chat", "little", "question", of_quality(0.0))
        assert _by(_ask(gateway)) == BIG

    def test_the_best_is_never_tried_small_first(self) -> None:
        """A dial of 1 means the large size."""
        gateway = _gateway(ChoicePolicy(cascade=CascadePolicy()))
        assert _by(_ask(gateway, quality=1)) == BIG

    def test_jobs_do_not_cascade(self) -> None:
        """Nobody looks at their answers here."""
        gateway = _gateway(self.POLICY)
        answer = gateway.infer({"model": "chat", "input": EASY, "priority": "low"})
        assert answer.status == 202


class TestExploring:
    """Another size is tried now and then, within a budget, where records are thin."""

    def _served(self, policy: ChoicePolicy, count: int = 60) -> tuple[FakeGateway, list[str]]:
        gateway = _gateway(policy)
        return gateway, [_by(_ask(gateway, f"{EASY} {n}")) for n in range(count)]

    def test_some_requests_try_the_other_size(self) -> None:
        """Not more than the share, and the extra money is noted."""
        explore = ExtraSpend(0.3, Decimal(10))
        gateway, served = self._served(ChoicePolicy(explore=explore))
        tried = served.count(BIG)
        assert 0 < tried <= 0.45 * len(served)
        assert gateway.outcomes.spent("chat", Extra.EXPLORE) > 0

    def test_a_preview_spends_nothing(self) -> None:
        """However often it shows a try."""
        gateway = _gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        asked = {"model": "chat", "priority": "high"}
        shown = [gateway.call("POST /v1/route", {**asked, "input": f"{EASY} {n}"}) for n in range(60)]
        assert any("explore_instead_of" in document(answer)["reason"] for answer in shown)
        assert gateway.outcomes.spending == {}

    def test_an_empty_budget_ends_it(self) -> None:
        """Nothing dearer is tried."""
        _, served = self._served(ChoicePolicy(explore=ExtraSpend(0.3, Decimal("0.0000001"))))
        assert BIG not in served

    def test_the_days_money_is_never_exceeded(self) -> None:
        """Tries go on only while what another one costs is left; afterwards the settled size answers."""
        one = _gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        served = [_by(_ask(one, f"{EASY} {n}")) for n in range(60)]
        each = one.outcomes.spent("chat", Extra.EXPLORE) / served.count(BIG)
        day = each * Decimal("3.5")
        gateway, some = self._served(ChoicePolicy(explore=ExtraSpend(0.5, day)))
        assert some.count(BIG) == 3
        assert 0 < gateway.outcomes.spent("chat", Extra.EXPLORE) <= day

    def test_a_conversation_goes_on_with_what_it_tries(self) -> None:
        """Every turn of a conversation is tried, or not, like its first."""
        gateway = _gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        turns = {
            str(n): {_by(_ask(gateway, f"{EASY} {turn}", conversation_id=f"talk-{n}")) for turn in range(4)}
            for n in range(12)
        }
        assert all(len(served) == 1 for served in turns.values())
        assert set.union(*turns.values()) == {LITTLE, BIG}

    def test_many_records_end_it_too(self) -> None:
        """When it is known that the small size does as well, there is nothing to find out."""
        gateway = _gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        for _ in range(400):
            gateway.outcomes.add("chat", "little", "question", of_quality(0.9))
            gateway.outcomes.add("chat", "big", "question", of_quality(0.5))
        assert {_by(_ask(gateway, f"{n} {EASY}")) for n in range(40)} == {LITTLE}

    def test_it_says_so(self) -> None:
        """In the reason."""
        gateway = _gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        reasons = [_reason(_ask(gateway, f"{EASY} {n}")) for n in range(60)]
        assert any("explore_instead_of=small" in reason for reason in reasons)


class TestFeedback:
    """What callers say of answers."""

    def _answered(self, gateway: FakeGateway) -> str:
        return str(document(_ask(gateway))["id"])

    def test_it_reaches_the_record_of_what_answered(self) -> None:
        """Once: the first word stays."""
        gateway = _gateway()
        body = {"inference_id": self._answered(gateway), "model": "chat", "score": 0.25}
        first = gateway.call("POST /v1/feedback", body)
        assert first.status == 200
        assert document(first) == {
            "object": "feedback",
            "inference_id": body["inference_id"],
            "model": "chat",
            "deployment": LITTLE,
            "topic": "question",
            "recorded": True,
        }
        assert document(gateway.call("POST /v1/feedback", {**body, "score": 1}))["recorded"] is False
        assert gateway.outcomes.tallies["chat", "little", "question"].mean_quality == 0.25

    def test_an_openai_id_will_do(self) -> None:
        """As it stands in the completion."""
        gateway = _gateway()
        body = {"model": "chat", "messages": [{"role": "user", "content": EASY}], "service_tier": "priority"}
        name = document(gateway.call("POST /v1/chat/completions", body))["id"]
        answer = gateway.call("POST /v1/feedback", {"inference_id": name, "model": "chat", "score": 1})
        assert document(answer)["deployment"] == LITTLE

    def test_of_another_tenants_answer_it_is_refused(self) -> None:
        """And of ids that nobody gave out."""
        gateway = _gateway()
        name = self._answered(gateway)
        body = {"inference_id": name, "model": "chat", "score": 1}
        assert gateway.call("POST /v1/feedback", body, tenant="other").status == 404
        assert gateway.call("POST /v1/feedback", {**body, "inference_id": "inf_nope"}).status == 404
        assert gateway.outcomes.tallies["chat", "little", "question"].judged == 0

    @pytest.mark.parametrize(
        "change", [{"score": 2}, {"score": "good"}, {"model": None}, {"more": 1}, {"inference_id": "x" * 65}]
    )
    def test_its_fields_are_checked(self, change: dict[str, Any]) -> None:
        """Strictly, as in every native body."""
        body = {"inference_id": "inf_1", "model": "chat", "score": 1} | change
        assert _gateway().call("POST /v1/feedback", body).status == 400

    def test_it_needs_the_scope_to_infer(self) -> None:
        """A key that may only read has nothing to judge."""
        body = {"inference_id": "inf_1", "model": "chat", "score": 1}
        assert _gateway().call("POST /v1/feedback", body, scopes="read").status == 403


class TestShadow:
    """Copies for a deployment that answers nobody."""

    def _gateway(self, usd: str = "1") -> FakeGateway:
        catalogue = sized_catalogue(ChoicePolicy(shadow=ExtraSpend(1.0, Decimal(usd))))
        model = catalogue.models["chat"]
        shadow = replace(model.deployments[0], name="next", role=DeploymentRole.SHADOW, weight=0)
        models = {**catalogue.models, "chat": replace(model, deployments=(*model.deployments, shadow))}
        gateway = FakeGateway(catalogue=replace(catalogue, models=models))
        gateway.realtime.answer = chat_answer("Paris.")
        return gateway

    def test_a_copy_becomes_a_job_of_the_shadow(self) -> None:
        """The caller's answer and cost are those of the champion; the copy is under a key of its own."""
        gateway = self._gateway()
        answer = _ask(gateway)
        assert _by(answer) == LITTLE
        assert _reason(answer).endswith(";shadow")
        (job,) = gateway.jobs.jobs.values()
        assert (job.deployment, job.inference_type, job.owner.key_id) == ("next", InferenceType.ASYNC, "shadow")
        assert job.metadata == {"tollgate_shadow_of": document(answer)["id"]}
        assert gateway.outcomes.spent("chat", Extra.SHADOW) == job.estimated_cost

    def test_an_empty_budget_ends_it(self) -> None:
        """For the day."""
        gateway = self._gateway("0.000000001")
        _ask(gateway)
        assert gateway.jobs.jobs == {}

    def test_it_never_serves(self) -> None:
        """Whatever is asked."""
        gateway = self._gateway()
        assert {_by(_ask(gateway, f"{EASY} {n}")) for n in range(30)} == {LITTLE}


def test_what_became_of_requests_is_added_up() -> None:
    """Requests, errors, seconds, cost and length, by deployment and topic."""
    gateway = _gateway()
    _ask(gateway)
    gateway.realtime.answer = ModelFailedError("boom", original_status=500)
    assert gateway.infer({"model": "chat", "input": EASY, "priority": "high"}).status == 502
    tally = total(gateway.outcomes.of("chat").values())
    assert (tally.requests, tally.errors, tally.priced, tally.counted) == (2, 1, 2, 1)
    assert tally.seconds == pytest.approx(gateway.realtime.takes)
    assert tally.mean_output_tokens == 5


@pytest.mark.parametrize(
    ("cascade", "param", "said"),
    [
        ({"checks": ["nope"]}, "cascade.checks.0", "'schema'"),
        ({"must_contain": "day"}, "cascade.must_contain", "list"),
        ({"other": 1}, "cascade.other", "Unknown field"),
        ("yes", "cascade", "true, false or an object"),
    ],
)
def test_a_wrong_cascade_is_refused_for_what_is_wrong_with_it(cascade: Any, param: str, said: str) -> None:
    """Not for being no boolean, which an object never is."""
    answer = FakeGateway().infer({"model": "echo", "input": "hi", "cascade": cascade})
    error = document(answer)["error"]
    assert (answer.status, error["param"]) == (400, param)
    assert said in error["message"]
