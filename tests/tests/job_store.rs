//! Every job store keeps the one suite.

mod memory {
    use tests::conformance::job_store::MemoryBench;

    tests::job_store_suite!(MemoryBench::default());
}

mod redis {
    use tests::conformance::job_store::{MemoryBench, RedisBench, twins_agree};

    tests::job_store_suite!(RedisBench::start());

    #[tokio::test]
    async fn redis_and_memory_answer_alike() {
        let redis = RedisBench::start();
        for seed in 1..=20 {
            twins_agree(&MemoryBench::default(), &redis, seed, 150).await;
        }
    }
}
