//! The throwaway Redis keeps its promises.

use testkit::Redis;

#[test]
fn a_server_pauses_dies_and_comes_back_on_its_port() {
    let mut redis = Redis::start();
    let url = redis.url();
    assert!(redis.answers());
    redis.pause();
    assert!(!redis.answers());
    redis.resume();
    assert!(redis.answers());
    redis.kill();
    assert!(!redis.answers());
    redis.restart();
    assert!(redis.answers());
    redis.restart();
    assert!(redis.answers());
    assert_eq!(redis.url(), url);
}

#[test]
fn a_shared_server_has_a_url() {
    assert!(Redis::shared().url().starts_with("redis://"));
}
