"""The choice among sizes as a caller meets it: which deployment answers, why, and what both answers cost."""

from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.choosing_gateway import BIG, LITTLE, ask, choosing_gateway, reason_of, served_by
from tests.fakes.gateway import FakeGateway, document
from tests.fakes.sizes import EASY, HARD, chat_answer, sized_catalogue
from tollgate.domain.choice.outcomes import marked, of_quality, of_run, total
from tollgate.domain.choice.policy import (
    ChoicePolicy,
    ExtraSpend,
    TierThresholds,
)
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.trimming.policy import TrimmingPolicy
from tollgate.ports.outcomes import Extra


def test_easy_prompts_go_small_and_hard_ones_large() -> None:
    """With the default thresholds, and the reason says why."""
    gateway = choosing_gateway()
    easy, hard = ask(gateway), ask(gateway, HARD)
    assert (served_by(easy), served_by(hard)) == (LITTLE, BIG)
    assert "tier=small;complexity=0." in reason_of(easy)
    assert "tier=large;complexity=" in reason_of(hard)
    assert document(hard)["choice"]["complexity"] > document(easy)["choice"]["complexity"]


def test_without_a_choice_weights_decide_as_before() -> None:
    """A model whose catalogue entry says nothing about choosing is served by weight."""
    gateway = choosing_gateway(None)
    served = {
        served_by(gateway.infer({"model": "chat", "input": EASY, "priority": "high"}, request_id=f"r{n}"))
        for n in range(20)
    }
    assert served == {LITTLE, BIG}
    assert gateway.outcomes.tallies == {}


def test_thresholds_of_the_model_decide() -> None:
    """An owner may keep nearly everything small, or send everything to the large size."""
    assert served_by(ask(choosing_gateway(ChoicePolicy(thresholds=TierThresholds(1.0, 1.0))), HARD)) == LITTLE
    assert served_by(ask(choosing_gateway(ChoicePolicy(thresholds=TierThresholds(0.0, 0.0))), EASY)) == BIG


def test_the_dial_of_the_request_comes_before_the_models() -> None:
    """1 buys the best, 0 the cheapest, whatever the prompt."""
    gateway = choosing_gateway(ChoicePolicy(quality=0.5))
    best = ask(gateway, EASY, quality=1)
    assert served_by(best) == BIG
    assert "quality=1" in reason_of(best)
    assert served_by(ask(gateway, HARD, quality=0)) == LITTLE


def test_the_dial_works_without_the_owner() -> None:
    """A caller may ask for it where the catalogue has two sizes and says nothing."""
    assert served_by(ask(choosing_gateway(None), EASY, quality=0)) == LITTLE


def test_a_dial_out_of_range_is_refused() -> None:
    """Naming the field."""
    answer = choosing_gateway().infer({"model": "chat", "input": EASY, "quality": 1.5})
    assert answer.status == 400
    assert document(answer)["error"]["param"] == "quality"


def test_a_dearer_size_with_no_better_records_is_never_taken() -> None:
    """Thirty outcomes each are enough to know."""
    gateway = choosing_gateway()
    for _ in range(30):
        gateway.outcomes.add("chat", "little", "numbers", of_quality(0.9))
        gateway.outcomes.add("chat", "big", "numbers", of_quality(0.8))
    answer = ask(gateway, HARD)
    assert served_by(answer) == LITTLE
    assert "ruled_out=large" in reason_of(answer)


def test_sizes_are_compared_on_the_same_topic_or_on_all() -> None:
    """The small size's outcomes on this topic do not rule out a large one that was judged on other topics."""
    gateway = choosing_gateway()
    for _ in range(30):
        gateway.outcomes.add("chat", "little", "numbers", of_quality(0.8))
        gateway.outcomes.add("chat", "little", "code", of_quality(0.2))
        gateway.outcomes.add("chat", "big", "code", of_quality(0.7))
    assert served_by(ask(gateway, HARD)) == BIG
    for _ in range(30):
        gateway.outcomes.add("chat", "big", "numbers", of_quality(0.75))
    assert served_by(ask(gateway, HARD)) == LITTLE


def test_a_conversation_does_not_go_back_to_a_smaller_size() -> None:
    """Even in an environment that has not seen its earlier turns; without stickiness it does."""
    talk = [
        {"role": "user", "content": HARD},
        {"role": "assistant", "content": "It is $1,204.50."},
        {"role": "user", "content": "Thank you! What is the capital of Italy?"},
        {"role": "assistant", "content": "Rome."},
        {"role": "user", "content": EASY},
    ]
    answer = choosing_gateway().infer({"model": "chat", "input": talk, "priority": "high"})
    assert served_by(answer) == BIG
    assert "sticky" in reason_of(answer)
    loose = choosing_gateway(ChoicePolicy(sticky=False)).infer({"model": "chat", "input": talk, "priority": "high"})
    assert served_by(loose) == LITTLE


def test_trimming_does_not_change_what_is_asked() -> None:
    """Nor which conversation it is, though its first words are dropped, and documents put before the last."""
    gateway = choosing_gateway(trimming=TrimmingPolicy(input_tokens=40, keep_last=1))
    variant = replace(gateway.catalogues.catalogue.models["chat"].deployments[0], name="other")
    model = gateway.catalogues.catalogue.models["chat"]
    models = {"chat": replace(model, deployments=(*model.deployments, variant))}
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models=models)
    for number in range(12):
        turns: list[dict[str, str]] = []
        served, said = set(), set()
        for turn in range(4):
            asked = f"What is the capital of country {turn}, as my neighbour asked yesterday?"
            turns.append({"role": "user", "content": f"I am traveller {number}, good day." if turn == 0 else asked})
            documents = [{"text": f"Some old notes on the history of country {number}, in no order at all."}]
            given = {"messages": turns, "documents": documents if turn else []}
            answer = gateway.infer({"model": "chat", "input": given, "priority": "high"})
            served.add(served_by(answer))
            plain = gateway.infer({"model": "chat", "input": {"messages": turns}, "priority": "high"})
            said.add(document(answer)["choice"]["complexity"] == document(plain)["choice"]["complexity"])
            turns.append({"role": "assistant", "content": "It is a city that many people like to see in spring."})
        assert len(served) == 1
        assert said == {True}
        assert document(answer)["trimmed"]["dropped_messages"]


def test_requests_in_which_no_user_speaks_are_weighed_and_shared_out() -> None:
    """By what is said; they are not one conversation."""
    gateway = choosing_gateway()
    model = gateway.catalogues.catalogue.models["chat"]
    variant = replace(model.deployments[0], name="other")
    models = {"chat": replace(model, deployments=(*model.deployments, variant))}
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models=models)

    def told(text: str) -> str:
        return served_by(
            gateway.infer({"model": "chat", "input": [{"role": "system", "content": text}], "priority": "high"})
        )

    assert told(HARD) == BIG
    assert {told(f"Greet guest {number}.") for number in range(20)} == {LITTLE, "chat/other"}


def test_a_conversation_id_is_remembered() -> None:
    """For clients that send only their last message."""
    gateway = choosing_gateway()
    ask(gateway, HARD, conversation_id="c1")
    assert served_by(ask(gateway, EASY, conversation_id="c1")) == BIG
    assert served_by(ask(gateway, EASY, conversation_id="c2")) == LITTLE


def test_a_conversation_is_one_users_and_not_the_instructions() -> None:
    """Others with the same instructions, or of another tenant with the same words, begin anew."""
    gateway = choosing_gateway()

    def served(first: str, tenant: str = "acme") -> str:
        turns = [("system", "You know everything."), ("user", first), ("assistant", "So it is."), ("user", "Thanks.")]
        messages = [{"role": role, "content": content} for role, content in turns]
        body = {"model": "chat", "messages": messages, "service_tier": "priority"}
        return served_by(gateway.call("POST /v1/chat/completions", body, tenant=tenant))

    assert [served(HARD), served(EASY)] == [BIG, LITTLE]
    ask(gateway, HARD, conversation_id="c1")
    assert served_by(ask(gateway, EASY, conversation_id="c1")) == BIG
    other = {"model": "chat", "input": EASY, "priority": "high", "conversation_id": "c1"}
    assert served_by(gateway.infer(other, tenant="other")) == LITTLE


def test_another_catalogue_is_followed_at_once() -> None:
    """Nothing is kept of the sizes that the one before it had."""
    gateway = choosing_gateway()
    assert served_by(ask(gateway, HARD)) == BIG
    catalogue = gateway.catalogues.catalogue
    model = catalogue.models["chat"]
    smaller = replace(model, deployments=model.deployments[:1])
    gateway.catalogues.catalogue = replace(catalogue, models={**catalogue.models, "chat": smaller})
    assert served_by(ask(gateway, f"{HARD} Begin.")) == LITTLE


def test_openai_routes_choose_too() -> None:
    """With the dial among the body's fields; it does not reach the container."""
    gateway = choosing_gateway()
    body = {"model": "chat", "messages": [{"role": "user", "content": HARD}], "service_tier": "priority"}
    assert served_by(gateway.call("POST /v1/chat/completions", body)) == BIG
    assert served_by(gateway.call("POST /v1/chat/completions", {**body, "quality": 0})) == LITTLE
    assert b"quality" not in gateway.realtime.calls[-1][1]


def test_a_preview_says_what_would_be_chosen() -> None:
    """Every size with its cost, and nothing is run."""
    gateway = choosing_gateway()
    answer = gateway.call("POST /v1/route", {"model": "chat", "input": EASY, "priority": "high"})
    shown = document(answer)
    assert shown["deployment"] == LITTLE
    assert "tier=small" in shown["reason"]
    costs = [Decimal(option["estimated_cost_usd"]) for option in shown["choice"]["options"]]
    assert costs == sorted(costs)
    assert gateway.realtime.calls == []


def _costs(gateway: FakeGateway, **changes: Any) -> list[Decimal]:
    shown = document(gateway.call("POST /v1/route", {"model": "chat", "input": EASY, "priority": "high", **changes}))
    return [Decimal(option["estimated_cost_usd"]) for option in shown["choice"]["options"]]


def test_a_size_is_priced_by_how_long_its_answers_were() -> None:
    """One that has not answered yet by those of the other; no answer is longer than the caller allows."""
    gateway = choosing_gateway()
    unknown = _costs(gateway)
    two, many = ({"parameters": {"max_tokens": most}} for most in (2, 500))
    limited = _costs(gateway, **two)
    for _ in range(10):
        gateway.outcomes.add("chat", "little", "question", of_run(failed=False, seconds=1, usd=0.1, output_tokens=10))
    short = _costs(gateway)
    assert [two < ten < fifty for two, ten, fifty in zip(limited, short, unknown, strict=True)] == [True, True]
    assert _costs(gateway, **two) == limited
    assert _costs(gateway, **many) == short


def test_what_no_size_can_do_is_refused_as_for_any_model() -> None:
    """With the same words, whether there is a choice or not."""
    body = {"model": "chat", "input": EASY, "deadline_seconds": 0.01}
    answers = [choosing_gateway(choice).infer(body) for choice in (ChoicePolicy(), None)]
    assert [answer.status for answer in answers] == [422, 422]
    errors = [document(answer)["error"] for answer in answers]
    assert errors[0] == errors[1]


def test_later_roads_choose_too() -> None:
    """The job goes to the chosen deployment, and its id can be judged."""
    gateway = choosing_gateway()
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
    assert served_by(ask(gateway)) == BIG


class TestExploring:
    """Another size is tried now and then, within a budget, where records are thin."""

    def _served(self, policy: ChoicePolicy, count: int = 60) -> tuple[FakeGateway, list[str]]:
        gateway = choosing_gateway(policy)
        gateway.realtime.takes = 0.6  # about what is expected of an answer as short as this
        return gateway, [served_by(ask(gateway, f"{EASY} {n}")) for n in range(count)]

    def test_some_requests_try_the_other_size(self) -> None:
        """Not more than the share, and the extra money is noted."""
        explore = ExtraSpend(0.3, Decimal(10))
        gateway, served = self._served(ChoicePolicy(explore=explore))
        tried = served.count(BIG)
        assert 0 < tried <= 0.45 * len(served)
        assert gateway.outcomes.spent("chat", Extra.EXPLORE) > 0

    def test_a_preview_spends_nothing(self) -> None:
        """However often it shows a try."""
        gateway = choosing_gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
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
        one, served = self._served(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        each = one.outcomes.spent("chat", Extra.EXPLORE) / served.count(BIG)
        day = each * Decimal("3.5")
        gateway, some = self._served(ChoicePolicy(explore=ExtraSpend(0.5, day)))
        assert some.count(BIG) == 3
        assert 0 < gateway.outcomes.spent("chat", Extra.EXPLORE) <= day

    def test_what_a_try_cost_counts_and_not_what_was_expected(self) -> None:
        """An answer that holds its instance ten times as long uses up ten times the money."""

        def spent(seconds: float) -> tuple[Decimal, int]:
            gateway = choosing_gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
            gateway.realtime.takes = seconds
            served = [served_by(ask(gateway, f"{EASY} {n}")) for n in range(4)]
            return gateway.outcomes.spent("chat", Extra.EXPLORE), served.count(BIG)

        (short, tried), (long, again) = spent(1.0), spent(10.0)
        assert tried == again > 0
        assert long > 5 * short

    def test_a_conversation_goes_on_with_what_it_tries(self) -> None:
        """Every turn of a conversation is tried, or not, like its first."""
        gateway = choosing_gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        turns = {
            str(n): {served_by(ask(gateway, f"{EASY} {turn}", conversation_id=f"talk-{n}")) for turn in range(4)}
            for n in range(12)
        }
        assert all(len(served) == 1 for served in turns.values())
        assert set.union(*turns.values()) == {LITTLE, BIG}

    def test_many_records_end_it_too(self) -> None:
        """When it is known that the small size does as well, there is nothing to find out."""
        gateway = choosing_gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        for _ in range(400):
            gateway.outcomes.add("chat", "little", "question", of_quality(0.9))
            gateway.outcomes.add("chat", "big", "question", of_quality(0.5))
        assert {served_by(ask(gateway, f"{n} {EASY}")) for n in range(40)} == {LITTLE}

    def test_nothing_is_tried_out_on_who_wants_all_of_the_quality(self) -> None:
        """With a dial of 1 the largest size answers, whatever a smaller one might do."""
        gateway = choosing_gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        assert LITTLE in {served_by(ask(gateway, f"{EASY} {n}", quality=0.99)) for n in range(40)}
        assert {served_by(ask(gateway, f"{EASY} {n}", quality=1.0)) for n in range(40)} == {BIG}
        owner = choosing_gateway(ChoicePolicy(quality=1.0, explore=ExtraSpend(0.5, Decimal(10))))
        assert {served_by(ask(owner, EASY, conversation_id=f"talk-{n}")) for n in range(40)} == {BIG}

    def test_it_says_so(self) -> None:
        """In the reason."""
        gateway = choosing_gateway(ChoicePolicy(explore=ExtraSpend(0.5, Decimal(10))))
        reasons = [reason_of(ask(gateway, f"{EASY} {n}")) for n in range(60)]
        assert any("explore_instead_of=small" in reason for reason in reasons)


class TestFeedback:
    """What callers say of answers."""

    def _answered(self, gateway: FakeGateway) -> str:
        return str(document(ask(gateway))["id"])

    def test_it_reaches_the_record_of_what_answered(self) -> None:
        """Once: the first word stays."""
        gateway = choosing_gateway()
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
        gateway = choosing_gateway()
        body = {"model": "chat", "messages": [{"role": "user", "content": EASY}], "service_tier": "priority"}
        name = document(gateway.call("POST /v1/chat/completions", body))["id"]
        answer = gateway.call("POST /v1/feedback", {"inference_id": name, "model": "chat", "score": 1})
        assert document(answer)["deployment"] == LITTLE

    def test_of_another_tenants_answer_it_is_refused(self) -> None:
        """And of ids that nobody gave out."""
        gateway = choosing_gateway()
        name = self._answered(gateway)
        body = {"inference_id": name, "model": "chat", "score": 1}
        assert gateway.call("POST /v1/feedback", body, tenant="other").status == 404
        assert gateway.call("POST /v1/feedback", {**body, "inference_id": "inf_nope"}).status == 404
        assert gateway.outcomes.tallies["chat", "little", "question"].judged == 0

    def test_of_another_models_answer_it_is_refused(self) -> None:
        """Its deployments may have the same names."""
        gateway = choosing_gateway()
        catalogue = gateway.catalogues.catalogue
        twin = replace(catalogue.models["chat"], name="twin")
        gateway.catalogues.catalogue = replace(catalogue, models={**catalogue.models, "twin": twin})
        body = {"inference_id": self._answered(gateway), "score": 1}
        assert gateway.call("POST /v1/feedback", {**body, "model": "twin"}).status == 404
        assert document(gateway.call("POST /v1/feedback", {**body, "model": "chat"}))["recorded"] is True

    def test_an_id_that_a_tenant_made_up_is_refused(self) -> None:
        """Whoever could make them up would decide, answer by answer that nobody gave, which size answers all others."""
        gateway = choosing_gateway()
        gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, seal="known to the stack alone")
        made_up = marked("inf_00000099", tenant="acme", model="chat", deployment="little", topic="question", seal="")
        body = {"inference_id": made_up, "model": "chat", "score": 0}
        assert gateway.call("POST /v1/feedback", body).status == 404
        assert gateway.call("POST /v1/feedback", {**body, "inference_id": self._answered(gateway)}).status == 200

    @pytest.mark.parametrize(
        "change", [{"score": 2}, {"score": "good"}, {"model": None}, {"more": 1}, {"inference_id": "x" * 65}]
    )
    def test_its_fields_are_checked(self, change: dict[str, Any]) -> None:
        """Strictly, as in every native body."""
        body = {"inference_id": "inf_1", "model": "chat", "score": 1} | change
        assert choosing_gateway().call("POST /v1/feedback", body).status == 400

    def test_it_needs_the_scope_to_infer(self) -> None:
        """A key that may only read has nothing to judge."""
        body = {"inference_id": "inf_1", "model": "chat", "score": 1}
        assert choosing_gateway().call("POST /v1/feedback", body, scopes="read").status == 403


def test_what_became_of_requests_is_added_up() -> None:
    """Requests, errors, seconds, cost and length, by deployment and topic."""
    gateway = choosing_gateway()
    ask(gateway)
    gateway.realtime.answer = ModelFailedError("boom", original_status=500)
    assert gateway.infer({"model": "chat", "input": EASY, "priority": "high"}).status == 502
    tally = total(gateway.outcomes.of("chat").values())
    assert (tally.requests, tally.errors, tally.priced, tally.counted) == (2, 1, 2, 1)
    assert tally.seconds == pytest.approx(gateway.realtime.takes)
    assert tally.mean_output_tokens == 5
