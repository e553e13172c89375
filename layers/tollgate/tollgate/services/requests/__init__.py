"""A request at the gateway, from key to answer or to accepted job.

Read it in this order.

The words: `plan` has the request, its `Plan`, and the two ways it can end, `Completed` and `Accepted`. `trail` has
what becomes known on the way. `wishes` is what a caller may ask for besides the request itself.

Before: `authorize` finds who holds the key; `idempotency` gives a repeated call its first answer.

The way: `answer_request` (`InferenceService`) plans a request, looks into the cache, and runs it now or accepts it as a
job. Everything else is called from there.

- Planned by `plan_request`, with the help of `admission` (budgets and brakes), `trim_request`, `choose_tier`, and of
  `domain.roads.routing`, which has the last word.
- Run now by `run_realtime`, which holds the money, calls and settles. Around it: `run_chosen` asks a larger size when
  the answer does not pass, `run_streaming` shows it as it is made, `fallback_chain` asks other deployments after
  a failure, and `deployment_health` remembers how calls went.
- Run later: `accept_job` writes the job down and queues it; `wake_requests` has a sleeping endpoint woken. What follows
  is in `services.jobs` and `services.batches`.
- Several requests in one call: `answer_all`, whose model calls `concurrent_calls` makes at the same time.

Afterwards: `feedback` takes what callers say of their answers.
"""
