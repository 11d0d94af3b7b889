//! Long forms of tests that `./test` runs in a short form.

use std::process::ExitCode;

use crate::services;

/// A group of tests and what makes it long.
struct Trial {
    name: &'static str,
    about: &'static str,
    environment: &'static [&'static str],
    /// Options of nextest.
    options: &'static [&'static str],
    /// The tests, as nextest selects them.
    tests: &'static str,
}

const TRIALS: [Trial; 4] = [
    Trial {
        name: "kills",
        about: "20 kills on each engine, 100 whose trail is compared with the database, 10,000 refreshes of \
                two tabs at once",
        environment: &[
            "GATEWRIGHT_TEST_KILLS=20",
            "GATEWRIGHT_TEST_TRAIL_KILLS=100",
            "GATEWRIGHT_TEST_PAIRS=10000",
        ],
        options: &[],
        tests: "test(kill_9) or test(two_tabs)",
    },
    Trial {
        name: "nodes",
        about: "three nodes: 55 s of 50 times the limits, 50 logouts with and without Redis, a node paused \
                for 5 s or killed under load; 60 s of junk, 10,000 idle sockets",
        environment: &[
            "GATEWRIGHT_TEST_LOAD=55",
            "GATEWRIGHT_TEST_LOGOUTS=50",
            "GATEWRIGHT_TEST_PAUSE=5",
            "GATEWRIGHT_TEST_ROUNDS=200",
            "GATEWRIGHT_TEST_JUNK=60",
            "GATEWRIGHT_TEST_IDLE_SOCKETS=10000",
        ],
        options: &["--success-output", "final"],
        tests: "test(shared_) or test(cluster::) or test(junk_as_fast) or test(many_idle_sockets)",
    },
    Trial {
        name: "schemathesis",
        about: "5 minutes of schemathesis on each engine, with requests by the OpenAPI document and against \
                it (needs `cargo xtask clients`)",
        environment: &["GATEWRIGHT_TEST_SCHEMATHESIS=300"],
        options: &["--success-output", "final"],
        tests: "test(schemathesis)",
    },
    Trial {
        name: "surroundings",
        about: "real proxies and poolers, databases with unusual defaults, wrong clocks: each test 10 times",
        environment: &[],
        options: &["--stress-count", "10"],
        tests: "test(proxies) or test(poolers) or test(surroundings) or test(encryption) or test(readiness) \
                or test(clocks)",
    },
];

/// Prints the trials.
pub(crate) fn list() -> ExitCode {
    for trial in &TRIALS {
        println!("  {:<14} {}", trial.name, trial.about);
    }
    ExitCode::SUCCESS
}

/// Runs one beside a throwaway PostgreSQL and Redis.
pub(crate) fn run(name: &str) -> ExitCode {
    let Some(trial) = TRIALS.iter().find(|trial| trial.name == name) else {
        eprintln!("there is no trial `{name}`:");
        list();
        return ExitCode::from(2);
    };
    let nextest = ["cargo", "nextest", "run", "--workspace", "--filterset", trial.tests];
    services::run("env", &[trial.environment, &nextest, trial.options].concat())
}
