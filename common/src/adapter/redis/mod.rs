//! The job store on Redis 7: one Lua script per step.
//!
//! # Keys, after the deployment's prefix
//!
//! | key | kind | holds |
//! | --- | --- | --- |
//! | `job:{id}` | hash | the record's short fields; every value within 64 bytes, so that Redis keeps it as a listpack |
//! | `spec:{id}`, `fail:{id}`, `result:{id}` | strings | specification, last failure, result |
//! | `{state}:{lane}` | sorted sets | jobs that are available, scheduled, retryable (by due time), running (by expiry) |
//! | `bell:{lane}` | sorted set | available jobs by the time at which they may be rung again |
//! | `outbox:{lane}` | sorted set | `{serial}:{id}` by the time from which it may be claimed |
//! | `exports`, `webhooks`, `sweeps` | sorted sets | what is left to do, by the time from which it may be claimed |
//! | `all`, `dead` | sorted sets | every job and the discarded ones, by id, which is by age |
//! | `done` | sorted set | final jobs by their end |
//! | `held:{worker}` | set | what a worker holds |
//! | `cancels:{worker}` | list | cancels to tell it |
//! | `idempotency`, `cache` | hashes | key to job |
//! | `deliveries` | list | tries to deliver webhooks, the newest first, bounded |
//! | `keys` | hash | API keys, by id; `revoked`: when those were that are not good any more |
//! | `poison:{content}`, `turn`, `rate:{bucket}` | strings, hash | with an expiry of their own |
//! | `workers`, `workers:draining`, `workers:info`, `totals`, `serial` | | heartbeats, sums, the last bell's number |
//!
//! A final job with every document, tags, idempotency key and cache entry takes under 2 KiB; `prune` removes everything of it together, so no key of a job has an expiry.
//! Keys are named inside the scripts: the deployment's prefix must hold a hash tag on a Redis cluster.

mod answer;
mod codec;
mod delivery;
mod job_store;
mod key_store;
mod link;
mod script;

pub use job_store::RedisJobStore;
pub use link::RedisOptions;
